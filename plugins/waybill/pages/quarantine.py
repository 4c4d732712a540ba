"""Quarantine: what is set aside by reason, one case put right, and many cases released or discarded at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from include.data.database import engine
from include.monitoring.views import duplicates, quarantine, resolving
from include.monitoring.views.corrections import check, shared_fields
from include.monitoring.views.resolving import Choice, Moved, Unfit
from waybill.pages.rendering import HEADERS, page, redirect
from waybill.pages.visitor import Acting, Looking, Visitor, sealed_seen, unsealed_seen

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
Of = Annotated[str, Form(max_length=100)]
"""The reason whose cases somebody goes through; empty for who came to the case in another way."""


@dataclass
class Wanted:
    """What the form for several cases holds.

    :param case: those that are ticked.
    :param counted: how many cases somebody says that there are, when all are meant.
    :param field: released with the same value in all of them; empty for no correction.
    :param reason: why they are discarded.
    :param after: the page of the list on which the form is.
    :param seen: how the cases stood there.
    """

    action: Annotated[Literal["", "release", "discard"], Form()] = ""
    which: Annotated[Literal["ticked", "all"], Form()] = "ticked"
    case: Annotated[list[int] | None, Form()] = None
    counted: Annotated[str, Form()] = ""
    field: Annotated[str, Form()] = ""
    value: Annotated[str, Form()] = ""
    reason: Annotated[str, Form()] = ""
    after: Annotated[int, Form()] = 0
    seen: Annotated[str, Form()] = ""


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
def one(
    case_id: int, visitor: Looking, of: Annotated[str, Query(max_length=100)] = "", said: str | None = None
) -> HTMLResponse:
    """Show a case with its reasons and the fields to correct.

    :param of: the reason whose cases somebody goes through.
    """
    return _sheet(case_id, visitor, of=of, said=said)


@router.post("/case/{case_id}/release")
def release(case_id: int, visitor: Acting, typed: Typed, seen: Annotated[str, Form()] = "", of: Of = "") -> Response:
    """Correct what was changed in the form, and send the case through its workflow again."""
    try:
        corrected = resolving.release_one(engine(), case_id, seen=seen, typed=typed, actor=visitor.actor)
    except Moved as moved:
        return redirect(_address(case_id, of), str(moved), refused=True)
    except Unfit as unfit:
        return _sheet(case_id, visitor, of=of, typed=typed, faults=unfit.faults, seen=seen)
    what = f"corrected ({', '.join(corrected)}) and released" if corrected else "released"
    return redirect(_address(case_id, of), f"Case {case_id} is {what}.")


@router.post("/case/{case_id}/discard")
def discard(
    case_id: int,
    visitor: Acting,
    seen: Annotated[str, Form()] = "",
    reason: Annotated[str, Form()] = "",
    of: Of = "",
) -> Response:
    """Close the case for good."""
    try:
        resolving.discard_one(engine(), case_id, seen=seen, reason=reason, actor=visitor.actor)
    except Moved as moved:
        return redirect(_address(case_id, of), str(moved), refused=True)
    except Unfit as unfit:
        return _sheet(case_id, visitor, of=of, faults=unfit.faults, reason=reason, seen=seen)
    return redirect(_address(case_id, of), f"Case {case_id} is discarded.")


@router.get("/{workflow}/{code}")
def of_reason(workflow: str, code: str, visitor: Looking, after: int = 0, said: str | None = None) -> HTMLResponse:
    """Show the cases of one reason."""
    return _reason(workflow, code, visitor, after=after, said=said)


@router.post("/{workflow}/{code}")
def resolve_many(workflow: str, code: str, visitor: Acting, wanted: Annotated[Wanted, Depends()]) -> Response:
    """Release or discard the cases that are ticked, or all of the reason when their number is confirmed."""
    everything = wanted.which == "all"
    seen = unsealed_seen(wanted.seen)
    ticked = {case: seen["cases"].get(str(case), "") for case in wanted.case or []}
    choice = Choice(workflow, code, None if everything else ticked, _number(wanted.counted), seen["all"])
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
        return redirect(f"{TAB}/{workflow}/{code}", str(moved), refused=True)
    except Unfit as unfit:
        return _reason(workflow, code, visitor, after=wanted.after, wanted=wanted, faults=unfit.faults, seen=seen)
    said = f"{'Released' if wanted.action == 'release' else 'Discarded'}: {done.changed:,}."
    if done.left:
        said += f" Left alone, because they changed since you looked: {done.left:,}."
    return redirect(f"{TAB}/{workflow}/{code}", said, refused=not done.changed)


def _sheet(
    case_id: int,
    visitor: Visitor,
    *,
    of: str,
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
        of = of or next((fault.code for fault in sheet.faults), "")
        following = quarantine.next_of(connection, sheet.workflow, of, case_id) if of else None
    return page(
        "quarantine_case.html", visitor, tab=TAB, said=said, status=422 if faults else 200, sheet=sheet,
        typed=typed or {}, faults=faults or {}, reason=reason, seen=seen or sheet.seen, of_field=OF_FIELD,
        longest=resolving.LONGEST_REASON, of=of, following=following,
    )  # fmt: skip


def _address(case_id: int, of: str) -> str:
    """The path of a case's page, below the prefix, for somebody who goes through the cases of a reason."""
    return f"{TAB}/case/{case_id}" + (f"?{urlencode({'of': of})}" if of else "")


def _reason(
    workflow: str,
    code: str,
    visitor: Visitor,
    *,
    after: int,
    said: str | None = None,
    wanted: Wanted | None = None,
    faults: Mapping[str, str] | None = None,
    seen: Mapping[str, Any] | None = None,
) -> HTMLResponse:
    """Return the cases of a reason; with faults it has what was ticked and typed, bound to what was seen first."""
    with engine().connect() as connection:
        cases = quarantine.cases_of(connection, workflow, code, after)
        total, whole = quarantine.whole(connection, workflow, code)
    first = seen or {"cases": {}, "all": whole}
    seen_now = {str(case.id): case.seen for case in cases}
    return page(
        "quarantine_reason.html", visitor, tab=TAB, said=said, status=422 if faults else 200, workflow=workflow,
        code=code, cases=cases, total=total, after=after, size=quarantine.PAGE,
        fields=shared_fields(workflow, code, (case.reasons for case in cases)),
        instruction=quarantine.instruction(workflow, code), faults=faults or {}, longest=resolving.LONGEST_REASON,
        wanted=wanted or Wanted(), seen=sealed_seen({"cases": seen_now | first["cases"], "all": first["all"]}),
    )  # fmt: skip


def _number(typed: str) -> int:
    """What somebody typed as a number of cases; -1, which no number is, where it is none."""
    digits = "".join(typed.split()).replace(",", "")
    return int(digits) if digits.isdecimal() and len(digits) < 12 else -1
