"""The board: every workflow at a glance."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from include.data.database import engine
from include.monitoring.plots import flow
from include.monitoring.views.board import Books, board, zone
from waybill.pages.rendering import page
from waybill.pages.visitor import Looking

router = APIRouter()
_books = Books()


@router.get("/board")
def show(visitor: Looking, said: str | None = None) -> HTMLResponse:
    """Show it."""
    with engine().connect() as connection:
        books, counted_at = _books.read(connection)
        workflows = board(connection, books)
    return page(
        "board.html", visitor, tab="board", said=said, workflows=workflows, counted_at=counted_at,
        balanced=all(each.balanced for each in workflows), zone=zone(),
        flow=lambda each: flow(tuple(each.came), tuple(each.went)),
    )  # fmt: skip
