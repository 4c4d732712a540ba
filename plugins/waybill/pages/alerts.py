"""The alerts: what is open, acknowledged, snoozed or over, maintenance; and the pages that an alert's links lead to.

Without personal data. What is done here is in `include.monitoring.alerts.quiet`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from markdown_it import MarkdownIt
from markupsafe import Markup
from sqlalchemy.exc import SQLAlchemyError

from include.contracts.registry import contracts
from include.data.database import engine
from include.monitoring.alerts import quiet
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.touched import MOST_LISTED, cases_of
from include.monitoring.views import alert_list
from include.monitoring.watching import outside
from include.monitoring.watching.wellbeing import unwell
from waybill.pages.rendering import HEADERS, page, redirect
from waybill.pages.visitor import Acting, Looking, Visitor

RUNBOOKS = Path(__file__).resolve().parents[3] / "docs" / "runbooks"
HOURS = {1: "1 hour", 4: "4 hours", 12: "12 hours", 24: "1 day", 72: "3 days", 168: "7 days"}
"""How long an alert can be quiet; there is no "for ever" among them."""
QUIET = {"acknowledged": "Acknowledged", "snoozed": "Snoozed", "maintenance": "In maintenance"}
LONGEST_REASON = 500
FURTHEST_START = timedelta(days=366)
"""How far ahead maintenance can be announced; further away is a slip of the pen."""
_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")

router = APIRouter()
_STARTED = datetime.now(UTC)

Reason = Annotated[str, Form(max_length=LONGEST_REASON)]
Hours = Annotated[int | None, Form(ge=1, le=14 * 24)]
Shown = Annotated[int | None, Form()]
"""The alert on whose own page the form is; None on the page of all of them."""


@dataclass(frozen=True)
class Wanted:
    """What the form holds with which alerts get quiet."""

    ids: Annotated[list[int] | None, Form()] = None
    hours: Hours = None
    reason: Reason = ""


@router.get("/alerts")
def show(visitor: Looking, before: int | None = None, said: str | None = None) -> HTMLResponse:
    """Show what is open, what is quiet, maintenance, and what is over."""
    return _list(visitor, before=before, said=said)


@router.post("/alerts")
def hold(
    visitor: Acting, how: Annotated[quiet.How, Form()], wanted: Annotated[Wanted, Depends()], shown: Shown = None
) -> Response:
    """Acknowledge or snooze the alerts that are ticked, or the one whose page it is."""
    ids, hours = wanted.ids or [], wanted.hours
    until = None if hours is None else datetime.now(UTC) + timedelta(hours=hours)
    try:
        if not ids:
            raise quiet.Refused("choose at least one alert")
        held = quiet.hold(engine(), ids, how, until=until, reason=wanted.reason, actor=visitor.actor)
    except quiet.Refused as refusal:
        if shown is None:
            return _list(visitor, refused=str(refusal), wanted=wanted)
        return _one(shown, visitor, refused=str(refusal), wanted=wanted)
    left = "" if held == len(ids) else f" {len(ids) - held} left as they were: over meanwhile, or so already."
    words = f"{held} {how} for {HOURS.get(hours or 0, f'{hours} hours')}.{left}"
    return redirect(_page_of(shown), words, refused=not held)


@router.post("/alerts/{alert_id}/speak")
def speak(alert_id: int, visitor: Acting, reason: Reason = "", shown: Shown = None) -> RedirectResponse:
    """End the quiet of an alert."""
    try:
        ended = quiet.speak_again(engine(), alert_id, actor=visitor.actor, reason=reason or "it is to be told again")
    except quiet.Refused as refusal:
        return redirect(_page_of(shown), f"Nothing was changed: {refusal}.", refused=True)
    return redirect(_page_of(shown), "It is told again within a minute." if ended else "It was not quiet any more.")


@router.post("/alerts/windows")
def announce(
    visitor: Acting,
    subject: Annotated[str, Form(max_length=100)] = "",
    starts: Annotated[str, Form(max_length=30)] = "",
    hours: Hours = None,
    reason: Reason = "",
) -> RedirectResponse:
    """Announce maintenance; `starts` is in UTC, and now when it is empty."""
    what, _, name = subject.partition(":")
    try:
        if subject not in _subjects():
            raise quiet.Refused("choose a workflow or a system")
        begins = _moment(starts)
        ends = None if hours is None else (begins or datetime.now(UTC)) + timedelta(hours=hours)
        quiet.open_window(engine(), what=what, name=name, starts=begins, ends=ends, reason=reason, actor=visitor.actor)
    except quiet.Refused as refusal:
        return redirect("alerts", f"Nothing was changed: {refusal}.", refused=True)
    return redirect("alerts", f"Maintenance of {name} is announced; what lasts longer is told at its end.")


@router.post("/alerts/windows/{window_id}/end")
def end(window_id: int, visitor: Acting) -> RedirectResponse:
    """End maintenance before its time."""
    ended = quiet.end_window(engine(), window_id, actor=visitor.actor)
    return redirect("alerts", "Maintenance is over; what lasts is told." if ended else "It was over already.")


@router.get("/alive")
def alive() -> PlainTextResponse:
    """Tell a monitor outside, which need not log in, whether alerts would arrive; what is wrong is not for it."""
    try:
        with engine().connect() as connection:
            troubles = unwell(connection, since=_STARTED)
    except SQLAlchemyError:
        troubles = ["no database"]
    return PlainTextResponse("unwell" if troubles else "well", 503 if troubles else 200, HEADERS)


@router.get("/alerts/{alert_id}")
def one(alert_id: int, visitor: Looking, said: str | None = None) -> HTMLResponse:
    """Return what an alert says now, what was done about it, and the cases behind it."""
    return _one(alert_id, visitor, said=said)


@router.get("/runbooks/{kind}")
def runbook(kind: Kind, visitor: Looking) -> HTMLResponse:
    """Return the page for a kind of alert; only known kinds are looked up."""
    title, content = _runbook(kind)
    return page("runbook.html", visitor, tab="alerts", title=title, content=content)


def _list(
    visitor: Visitor,
    *,
    before: int | None = None,
    said: str | None = None,
    refused: str = "",
    wanted: Wanted | None = None,
) -> HTMLResponse:
    """Return the page of all alerts; refused, it has again what was ticked and written."""
    with engine().connect() as connection:
        found, counts = alert_list.open_alerts(connection), alert_list.count_open(connection)
        over = alert_list.resolved(connection, before=before)
        return page(
            "alerts.html", visitor, tab="alerts", said=said, refused=refused, status=422 if refused else 200,
            unwell=unwell(connection, since=_STARTED), loud=[each for each in found if each.quiet is None],
            hours=HOURS, count=counts.get(None, 0), wanted=wanted or Wanted(),
            groups=[
                (title, [each for each in found if each.quiet == how], counts.get(how, 0))
                for how, title in QUIET.items()
            ],
            windows=quiet.windows(connection), subjects=_subjects(), over=over, first=before is None,
            older=over[-1].id if len(over) == alert_list.PAGE else None, life=alert_list.life(connection),
            problems=alert_list.problems(connection), outside=bool(outside.address()),
            alone=outside.MISSING if outside.is_missing() else None, longest=LONGEST_REASON, now=datetime.now(UTC),
        )  # fmt: skip


def _one(
    alert_id: int, visitor: Visitor, *, said: str | None = None, refused: str = "", wanted: Wanted | None = None
) -> HTMLResponse:
    with engine().connect() as connection:
        alert = alert_list.one(connection, alert_id)
        if alert is None:
            raise HTTPException(404, "there is no such alert")
        found = cases_of(connection, alert_id)
        done = alert_list.actions(connection, alert_id)
    return page(
        "alert.html", visitor, tab="alerts", said=said, refused=refused, status=422 if refused else 200, alert=alert,
        cases=found, actions=done, most=MOST_LISTED, hours=HOURS, longest=LONGEST_REASON, wanted=wanted or Wanted(),
    )  # fmt: skip


@cache
def _runbook(kind: Kind) -> tuple[str, Markup]:
    """The heading of a runbook, and what is below it; without links, for the files that they lead to are not here."""
    heading, _, below = (RUNBOOKS / f"{kind}.md").read_text(encoding="utf-8").partition("\n")
    drawn = MarkdownIt("commonmark", {"html": False}).enable("table").render(_LINK.sub(r"\1", below))
    return heading.lstrip("# "), Markup(drawn)  # noqa: S704 - a file of ours, without HTML


def _subjects() -> dict[str, str]:
    """What can have maintenance: every workflow but the alerts, and every system that a contract names."""
    declared = contracts().values()
    workflows = {f"workflow:{each.workflow}": each.title for each in declared if each.workflow not in quiet.NEVER_QUIET}
    systems = sorted({system.role for each in declared for system in each.systems})
    return workflows | {f"system:{name}": f"the system {name}" for name in systems}


def _page_of(shown: int | None) -> str:
    return "alerts" if shown is None else f"alerts/{shown}"


def _moment(written: str) -> datetime | None:
    """A moment as a browser's field for date and time sends it, in UTC.

    :raises Refused: when it is none, or further away than anybody plans.
    """
    if not written:
        return None
    try:
        moment = datetime.fromisoformat(written).replace(tzinfo=UTC)
    except ValueError:
        raise quiet.Refused("write the start as date and time") from None
    if moment > datetime.now(UTC) + FURTHEST_START:
        raise quiet.Refused(f"announce it when its start is at most {FURTHEST_START.days} days away")
    return moment
