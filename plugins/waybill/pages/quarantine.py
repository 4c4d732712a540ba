"""Quarantine: what is set aside by reason, one case put right, and many cases released or discarded at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from sqlalchemy import Connection

from include.data.database import engine
from include.monitoring.views import duplicates, quarantine, resolving
from include.monitoring.views.corrections import check, shared_fields
from include.monitoring.views.resolving import Choice, Moved, Unfit
from waybill.pages.rendering import HEADERS, page, redirect
from waybill.pages.visitor import Acting, Looking, Visitor

TAB = "quarantine"
OF_FIELD = "field."
"""What the names of inputs begin with that hold a field's value."""

router = APIRouter(prefix=f"/{TAB}")


async def typed_fields(request: Request) -> dict[str, str]:
    """Return what the inputs of a case's fields hold."""
    form = await request.form()
    return {
        name.removeprefix(OF_FIELD): value
        for name, value in form.items()
        if name.startswith(OF_FIELD) and isinstance(value, str)
    }


Typed = Annotated[dict[str, str], Depends(typed_fields)]


@dataclass
class Wanted:
    """What the form for several cases holds.

    :param case: those that are ticked.
    :param counted: how many cases somebody says that there are, when all are meant.
    :param field: released with the same value in all of them; empty for no correction.
    :param reason: why they are discarded.
    :param after: the page of the list on which the form is.
    """

    action: Annotated[Literal["", "release", "discard"], Form()] = ""
    which: Annotated[Literal["ticked", "all"], Form()] = "ticked"
    case: Annotated[list[int] | None, Form()] = None
    counted: Annotated[str, Form()] = ""
    field: Annotated[str, Form()] = ""
    value: Annotated[str, Form()] = ""
    reason: Annotated[str, Form()] = ""
    after: Annotated[int, Form()] = 0


@router.get("")
def overview(visitor: Looking, said: str | None = None) -> HTMLResponse:
    """Show what is set aside, by workflow and reason."""
    with engine().connect() as connection:
        groups = quarantine.groups(connection)
        pairs = duplicates.count_open(connection)
    return page("quarantine.html", visitor, tab=TAB, said=said, groups=groups, pairs=pairs)


@router.post("/check")
def check_value(
    visitor: Acting,  # noqa: ARG001 - only who may correct may ask
    field: Annotated[str, Form()],
    value: Annotated[str, Form()] = "",
    country: Annotated[str | None, Form()] = None,
) -> JSONResponse:
    """Tell a form that is being filled in whether a value can be read. A POST, so that no log keeps the value."""
    verdict = check(field, value, of_country=country)
    answer = {"fits": verdict.fits, "reads_as": verdict.reads_as, "message": verdict.message}
    return JSONResponse(answer, headers=HEADERS)


@router.get("/case/{case_id}")
def one(case_id: int, visitor: Looking, said: str | None = None) -> HTMLResponse:
    """Show a case with its reasons and the fields to correct."""
    return _sheet(case_id, visitor, said=said)


@router.post("/case/{case_id}/release")
def release(case_id: int, visitor: Acting, typed: Typed, seen: Annotated[str, Form()] = "") -> Response:
    """Correct what was changed in the form, and send the case through its workflow again."""
    try:
        corrected = resolving.release_one(engine(), case_id, seen=seen, typed=typed, actor=visitor.actor)
    except Moved as moved:
        return redirect(f"{TAB}/case/{case_id}", str(moved))
    except Unfit as unfit:
        return _sheet(case_id, visitor, typed=typed, faults=unfit.faults, seen=seen)
    what = f"corrected ({', '.join(corrected)}) and released" if corrected else "released"
    return redirect(f"{TAB}/case/{case_id}", f"Case {case_id} is {what}.")


@router.post("/case/{case_id}/discard")
def discard(
    case_id: int, visitor: Acting, seen: Annotated[str, Form()] = "", reason: Annotated[str, Form()] = ""
) -> Response:
    """Close the case for good."""
    try:
        resolving.discard_one(engine(), case_id, seen=seen, reason=reason, actor=visitor.actor)
    except Moved as moved:
        return redirect(f"{TAB}/case/{case_id}", str(moved))
    except Unfit as unfit:
        return _sheet(case_id, visitor, faults=unfit.faults, reason=reason, seen=seen)
    return redirect(f"{TAB}/case/{case_id}", f"Case {case_id} is discarded.")


@router.get("/{workflow}/{code}")
def of_reason(workflow: str, code: str, visitor: Looking, after: int = 0, said: str | None = None) -> HTMLResponse:
    """Show the cases of one reason."""
    return _reason(workflow, code, visitor, after=after, said=said)


@router.post("/{workflow}/{code}")
def resolve_many(workflow: str, code: str, visitor: Acting, wanted: Annotated[Wanted, Depends()]) -> Response:
    """Release or discard the cases that are ticked, or all of the reason when their number is confirmed."""
    everything = wanted.which == "all"
    choice = Choice(workflow, code, None if everything else wanted.case or [], _number(wanted.counted))
    try:
        if not everything and not wanted.case:
            raise Unfit({"case": "Tick the cases first, or choose all of them."})
        if not wanted.action:
            raise Unfit({"action": "Say what to do: release or discard."})
        if wanted.action == "release":
            correction = {"field": wanted.field, "typed": wanted.value}
            done = resolving.release_many(engine(), choice, actor=visitor.actor, **correction)
        else:
            done = resolving.discard_many(engine(), choice, reason=wanted.reason, actor=visitor.actor)
    except Moved as moved:
        return redirect(f"{TAB}/{workflow}/{code}", str(moved))
    except Unfit as unfit:
        return _reason(workflow, code, visitor, after=wanted.after, wanted=wanted, faults=unfit.faults)
    said = f"{'Released' if wanted.action == 'release' else 'Discarded'}: {done.changed:,}."
    if done.left:
        said += f" Left alone, because somebody else had resolved them already: {done.left:,}."
    return redirect(f"{TAB}/{workflow}/{code}", said)


def _sheet(
    case_id: int,
    visitor: Visitor,
    *,
    said: str | None = None,
    typed: Mapping[str, str] | None = None,
    faults: Mapping[str, str] | None = None,
    reason: str = "",
    seen: str | None = None,
) -> HTMLResponse:
    """Return the page of a case; with faults it is shown again with what was typed, bound to what was seen first."""
    with engine().connect() as connection:
        sheet = quarantine.sheet(connection, case_id, clear=visitor.acts)
    if sheet is None:
        raise HTTPException(404, "there is no such case")
    return page(
        "quarantine_case.html", visitor, tab=TAB, said=said, status=422 if faults else 200, sheet=sheet,
        typed=typed or {}, faults=faults or {}, reason=reason, seen=seen or sheet.seen, of_field=OF_FIELD,
        longest=resolving.LONGEST_REASON,
    )  # fmt: skip


def _reason(
    workflow: str,
    code: str,
    visitor: Visitor,
    *,
    after: int,
    said: str | None = None,
    wanted: Wanted | None = None,
    faults: Mapping[str, str] | None = None,
) -> HTMLResponse:
    with engine().connect() as connection:
        cases, total, fields = _listed(connection, workflow, code, after)
    return page(
        "quarantine_reason.html", visitor, tab=TAB, said=said, status=422 if faults else 200, workflow=workflow,
        code=code, cases=cases, total=total, fields=fields, after=after, size=quarantine.PAGE,
        instruction=quarantine.instruction(workflow, code), faults=faults or {}, longest=resolving.LONGEST_REASON,
        wanted=wanted or Wanted(),
    )  # fmt: skip


def _listed(
    connection: Connection, workflow: str, code: str, after: int
) -> tuple[list[quarantine.AsideCase], int, list[str]]:
    cases = quarantine.cases_of(connection, workflow, code, after)
    total = quarantine.count(connection, workflow, code)
    return cases, total, shared_fields(workflow, code, (case.reasons for case in cases))


def _number(typed: str) -> int:
    """What somebody typed as a number of cases; -1, which no number is, where it is none."""
    digits = "".join(typed.split()).replace(",", "")
    return int(digits) if digits.isdecimal() and len(digits) < 12 else -1
