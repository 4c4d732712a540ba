"""The reports: their editions with what was sent to whom, and one edition with its tables, plots and documents."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import HTMLResponse

from include.data.database import engine
from include.monitoring.views.masking import HIDDEN
from include.reporting.catalogue import ATTACHED, REPORTS
from include.reporting.editions import SHOWN, Edition, deliveries, edition, editions
from include.reporting.intervals import Interval, Period
from include.reporting.model import Kind, shown
from include.stock.warehouse import warehouse
from waybill.pages.drawings import drawings
from waybill.pages.rendering import HEADERS, page
from waybill.pages.visitor import Looking

router = APIRouter()
MOST_ROWS = 200
"""Rows of a figure on its page; the files have all of them."""
NAMES = (Kind.TEXT, Kind.DAY)


@router.get("/reports")
def list_editions(
    visitor: Looking,
    report: Annotated[str, Query(max_length=50)] = "",
    period: Literal["", "daily", "weekly", "monthly"] = "",
    before: Annotated[int | None, Query(ge=1)] = None,
    said: str | None = None,
) -> HTMLResponse:
    """Show the newest editions."""
    with engine().connect() as connection:
        found = editions(connection, report=report or None, period=period or None, before=before)
        sent = deliveries(connection, [key for each in found for key in each.effects])
    return page(
        "reports.html", visitor, tab="reports", said=said, editions=found, sent=sent, about=_interval, reports=REPORTS,
        chosen=report, period=period, periods=list(Period), more=len(found) == SHOWN,
    )  # fmt: skip


@router.get("/reports/{edition_id}")
def show_edition(edition_id: int, visitor: Looking, said: str | None = None) -> HTMLResponse:
    """Show one edition."""
    found = _edition(edition_id)
    with engine().connect() as connection:
        sent = deliveries(connection, found.effects)
        others = editions(connection, report=found.report, period=found.period, first_day=found.first_day)
    report = REPORTS[found.report]
    return page(
        "report.html", visitor, tab="reports", said=said, report=report, edition=found, about=_interval(found),
        sent=list(sent.values()), others=others, plots=drawings(found.id, found.digest), names=NAMES, shown=shown,
        most=MOST_ROWS, hidden=HIDDEN, documents=ATTACHED if found.published else (),
    )  # fmt: skip


@router.get("/reports/{edition_id}/{kind}")
def download(edition_id: int, kind: Literal["pdf", "xlsx"], visitor: Looking) -> Response:  # noqa: ARG001 - who may look may take it along
    """Return one edition as a document; one that was refused is not given out."""
    from include.reporting.documents import DOCUMENTS  # noqa: PLC0415 - a page needs neither

    found = _edition(edition_id)
    if not found.published:
        raise HTTPException(404, "this edition was not published")
    document = DOCUMENTS[kind]
    disposition = f'attachment; filename="{document.filename(found)}"'
    return Response(
        document.content(REPORTS[found.report], found, _interval(found)),
        media_type=document.content_type,
        headers={**HEADERS, "Content-Disposition": disposition},
    )


def _edition(edition_id: int) -> Edition:
    with engine().connect() as connection:
        found = edition(connection, edition_id)
    if found is None or found.report not in REPORTS:
        raise HTTPException(404, "there is no such edition")
    return found


def _interval(found: Edition) -> Interval:
    return found.interval(warehouse().zone)
