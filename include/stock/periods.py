"""Months and their end: a closed month takes no movement, and nothing in it is valued again.

Whoever posts holds the period together with others who post (`hold_stock_period()`); closing holds it alone, so that no
movement slips in between the last look and the closing. The database refuses what comes later (migrations 0015, 0017).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal

from sqlalchemy import Connection, text

from include.stock.valuation import keep_closing_states, value
from include.stock.warehouse import warehouse


class NotClosable(Exception):
    """A month cannot be closed now; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Closed:
    """A month that was closed: when it ended, how many items had stock or a past, and the value of all."""

    month: date
    ends_at: datetime
    items: int
    value: Decimal


def closed_until(connection: Connection) -> datetime | None:
    """Return the instant before which everything is closed; None where nothing is."""
    return connection.execute(_CLOSED_UNTIL).scalar()


def close(connection: Connection, month: date, actor: str, *, now: datetime | None = None) -> Closed:
    """Close a month: value everything, keep how things stood at its end, and let nothing into it any more.

    Nobody can post meanwhile. Call `value` in a transaction of its own just before, so that little is left to do.

    :param month: any day of it.
    :param actor: who closes it.
    :param now: by default the database's clock.
    :raises NotClosable: when it is not over, is closed, or is not the next one.
    """
    first, following = month.replace(day=1), _following(month)
    ends_at = datetime.combine(following, time(), warehouse().zone)
    connection.execute(_HOLD_ALONE)
    _check(connection, first, ends_at, now)
    value(connection)
    connection.execute(_KEEP_MONTH, {"month": first, "ends_at": ends_at, "actor": actor})
    keep_closing_states(connection, first, ends_at)
    connection.execute(_KEEP_BALANCES, {"month": first, "ends_at": ends_at})
    connection.execute(_SET_CLOSED, {"ends_at": ends_at})
    row = connection.execute(_SUM, {"month": first}).one()
    return Closed(first, ends_at, row.items, row.value)


def _check(connection: Connection, first: date, ends_at: datetime, now: datetime | None) -> None:
    moment = now or connection.execute(text("select now()")).scalar_one()
    last = connection.execute(text("select max(month) from stock_periods")).scalar()
    if last is not None and first <= last:
        raise NotClosable(f"{first:%Y-%m} is closed already; the last closed month is {last:%Y-%m}")
    if moment < ends_at:
        raise NotClosable(f"{first:%Y-%m} is not over before {ends_at:%Y-%m-%d %H:%M %Z}; close it then")
    if last is not None and first != _following(last):
        raise NotClosable(f"months are closed in order: close {_following(last):%Y-%m} before {first:%Y-%m}")


def _following(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


_CLOSED_UNTIL = text("select nullif(closed_until, '-infinity') from stock_closing")
_HOLD_ALONE = text("select pg_advisory_xact_lock(hashtext('waybill.stock_closing'))")
_KEEP_MONTH = text("insert into stock_periods (month, ends_at, closed_by) values (:month, :ends_at, :actor)")
_KEEP_BALANCES = text("""
    with earlier as (
        select month, ends_at from stock_periods where month < :month order by month desc limit 1
    ), moved as (
        select * from stock_movements
        where moved_at >= coalesce((select ends_at from earlier), '-infinity') and moved_at < :ends_at
    )
    insert into stock_period_balances (month, item, location, lot, quantity)
    select :month, item, location, lot, sum(quantity) from (
        select item, location, lot, quantity from stock_period_balances join earlier using (month)
        union all select item, source, lot, -quantity from moved
        union all select item, destination, lot, quantity from moved) e
    group by item, location, lot having sum(quantity) <> 0""")
_SET_CLOSED = text("update stock_closing set closed_until = :ends_at")
_SUM = text("""
    select count(*) as items, coalesce(sum(value), 0) as value from stock_period_values where month = :month""")
