"""What is known of the person whom a case is about: counted for all, exported and erased by who acts."""

from __future__ import annotations

from typing import Annotated, cast

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from sqlalchemy import Connection, text

from include.data.database import authored, engine
from include.environment import current
from include.integrations.systems import CrmProvider, Mode
from include.privacy import rows
from include.privacy.erase import Refused, erase, notes
from include.privacy.export import as_json, delete_files, file_name
from include.privacy.inventory import inventory
from include.privacy.person import Person, Unknown, by_case
from include.privacy.requests import give_out
from waybill.pages.airflow_api import runs_naming
from waybill.pages.rendering import HEADERS, page, redirect
from waybill.pages.visitor import Acting, Looking
from waybill.systems import UnknownSystem, closing_provider
from waybill.typed import told

LONGEST_REASON = 200  # characters

router = APIRouter()


@router.get("/person")
def show(case: int, visitor: Looking, said: str | None = None) -> HTMLResponse:
    """Show how much each table holds, and what was exported and erased before; no values."""
    with engine().connect() as connection:
        person = _person(connection, case)
        return page(
            "person.html", visitor, tab="cases", said=said, case=case, person=person,
            counts=rows.counts(connection, person, {}), holds=inventory().holds,
            notes=notes(connection, person), history=_history(connection, person), longest=LONGEST_REASON,
        )  # fmt: skip


@router.post("/person/export")
def export(case: Annotated[int, Form()], visitor: Acting) -> Response:
    """Give out everything that is known, and record that somebody got it."""
    try:
        with (
            closing_provider("crm") as crm,
            authored(engine(), actor=visitor.actor, step="handle_request") as connection,
        ):
            person = _person(connection, case)
            document = as_json(give_out(connection, person, cast("CrmProvider", crm)))
    except UnknownSystem as error:
        return redirect(f"person?case={case}", f"Nothing was exported: {error}.", refused=True)
    named = {"Content-Disposition": f'attachment; filename="{file_name(person)}"'}
    return Response(document, media_type="application/json", headers={**HEADERS, **named})


@router.post("/person/erase")
def erase_person(
    case: Annotated[int, Form()],
    visitor: Acting,
    request: Request,
    reason: Annotated[str, Form(max_length=LONGEST_REASON)] = "",
    confirmed: Annotated[str, Form()] = "",
) -> RedirectResponse:
    """Erase, or say why not; a second time there is nothing left. The ledger's DAG tells the CRM within seconds."""
    back = f"person?case={case}"
    if confirmed != "yes":
        return redirect(back, "Nothing was erased: tick that it cannot be undone.", refused=True)
    with engine().connect() as connection:
        person = _person(connection, case)
    runs = runs_naming(request, person)
    try:
        with authored(engine(), actor=visitor.actor, step="handle_request") as connection:
            done = erase(
                connection,
                person,
                actor=visitor.actor,
                reason=reason,
                mode=Mode(current().effect_mode),
                typed=runs or (),
            )
    except Refused as error:
        return redirect(back, f"Nothing was erased: {error}.", refused=True)
    delete_files(person)
    values = sum(count.values for count in done.counts)
    said = f"Erased: {values} values; {done.closed} open cases were closed. The CRM is told at once."
    if done.id is None:
        said = "There is nothing left to erase."
    return redirect(back, f"{said} {told(runs, done.runs)}".strip())


def _person(connection: Connection, case: int) -> Person:
    try:
        return by_case(connection, case)
    except Unknown as error:
        raise HTTPException(404, str(error)) from None


def _history(connection: Connection, person: Person) -> list[dict[str, object]]:
    found = connection.execute(
        text("""
            select at, case_id, kind, actor, detail->>'reason' as reason from events
            where case_id = any(:cases) and kind in ('exported', 'erased') order by id desc limit 50"""),
        person.values,
    )
    return [dict(row) for row in found.mappings()]
