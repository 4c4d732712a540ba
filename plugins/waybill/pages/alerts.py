"""The pages that an alert's links lead to: its cases, and its runbook. Without personal data."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse, PlainTextResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from include.data.database import engine
from include.monitoring.messages import Kind
from include.monitoring.touched import MOST_LISTED, cases_of
from include.monitoring.wellbeing import unwell
from waybill.pages.rendering import HEADERS, page
from waybill.pages.visitor import Looking

RUNBOOKS = Path(__file__).resolve().parents[3] / "docs" / "runbooks"

router = APIRouter()
_STARTED = datetime.now(UTC)


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
def cases(alert_id: int, visitor: Looking) -> HTMLResponse:
    """Return what an alert says now, and the cases behind it."""
    with engine().connect() as connection:
        alert = connection.execute(
            text("select kind, workflow, step, cause, state, count from alerts where id = :id"), {"id": alert_id}
        ).one_or_none()
        if alert is None:
            raise HTTPException(404, "there is no such alert")
        found = cases_of(connection, alert_id)
    return page("alert.html", visitor, tab="", alert=alert, cases=found, most=MOST_LISTED)


@router.get("/runbooks/{kind}")
def runbook(kind: Kind, visitor: Looking) -> HTMLResponse:
    """Return the page for a kind of alert; only known kinds are looked up."""
    content = (RUNBOOKS / f"{kind}.md").read_text(encoding="utf-8")
    return page("runbook.html", visitor, tab="", title=kind.replace("_", " "), content=content)
