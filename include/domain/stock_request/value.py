"""The step `value`: what moved gets its value, and what a late movement changes gets a new one."""

from __future__ import annotations

from sqlalchemy import text

from include.cases.model import Work
from include.stock import valuation


def value(work: Work) -> None:
    """Value the items that the batch moved."""
    items = work.connection.execute(
        text("select distinct item from stock_movements where case_id = any(:ids) order by item"), work.values
    ).scalars()
    if moved := items.all():
        valuation.value(work.connection, moved)
