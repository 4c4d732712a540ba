"""The items' classes of a month: which span counts, by counting.yaml."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from include.domain.stock_count.rules import counting
from include.stock.abc import classify


def classify_until(connection: Connection, until: datetime) -> int | None:
    """Classify by the consumption of the months before `until`; see `include.stock.abc.classify`."""
    rules = counting().classes
    return classify(connection, _months_before(until, rules.months), until, rules.shares)


def _months_before(moment: datetime, months: int) -> datetime:
    """The first instant of the month that lies so many months before."""
    whole = moment.year * 12 + moment.month - 1 - months
    return moment.replace(year=whole // 12, month=whole % 12 + 1, day=1, hour=0, minute=0, second=0, microsecond=0)
