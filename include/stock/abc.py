"""ABC classes: which few items make up most of what is consumed, by value.

Pareto's rule as H. Ford Dickie put it for stock ("ABC Inventory Analysis Shoots for Dollars, not Pennies", Factory
Management and Maintenance 109, 1951): items in falling order of consumption value; those that make up the first 80 %
are A, up to 95 % B, and the rest C. Cycle counts and reviews look at A most often.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import accumulate

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

ZERO = Decimal(0)


@dataclass(frozen=True)
class Shares:
    """Cumulated shares of the whole consumption value at which a class ends."""

    a: Decimal = Decimal("0.80")
    b: Decimal = Decimal("0.95")

    def __post_init__(self) -> None:
        if not ZERO < self.a < self.b <= 1:
            raise ValueError(f"A ends at {self.a} and B at {self.b}: write shares such as 0.80 and 0.95")


def classes(values: Mapping[str, Decimal], shares: Shares | None = None) -> dict[str, str]:
    """Return the class of each item by its consumption value; the item with which a share is reached belongs to it.

    What was not consumed, or came back more than it went, is C.
    """
    limits = shares or Shares()
    ranked = sorted(
        ((item, value) for item, value in values.items() if value > 0), key=lambda each: (-each[1], each[0])
    )
    whole = sum((value for _, value in ranked), ZERO)
    before = accumulate((value for _, value in ranked), initial=ZERO)
    found = dict.fromkeys(values, "C")
    for (item, _), reached in zip(ranked, before, strict=False):
        found[item] = "A" if reached < limits.a * whole else "B" if reached < limits.b * whole else "C"
    return found


def consumption(connection: Connection, since: datetime, until: datetime | None = None) -> dict[str, Decimal]:
    """Return the value of what left real places for customers or own use in [since, until), less what came back.

    In the company's currency, at today's unit cost, else the standard cost; an item without either is worth nothing
    that is known. Every active item is in it, with zero where nothing moved.
    """
    found = connection.execute(
        text("""
            select i.code, coalesce(c.quantity * coalesce(v.unit_cost, i.standard_cost, 0), 0) as value
            from stock_items i left join stock_valuations v on v.item = i.code
            left join (
                select m.item, sum(case when s.real then m.quantity else -m.quantity end) as quantity
                from stock_movements m
                join stock_locations s on s.code = m.source join stock_locations d on d.code = m.destination
                where m.moved_at >= :since and (cast(:until as timestamptz) is null or m.moved_at < :until)
                  and (s.real and d.kind in ('customer', 'consumption')
                       or d.real and s.kind in ('customer', 'consumption'))
                group by m.item) c on c.item = i.code
            where i.active"""),
        {"since": since, "until": until},
    )
    return {row.code: row.value for row in found}


def abc_classes(
    connection: Connection, since: datetime, until: datetime | None = None, shares: Shares | None = None
) -> dict[str, str]:
    """Return the class of each active item by the value of its consumption in [since, until)."""
    return classes(consumption(connection, since, until), shares)


def classify(connection: Connection, since: datetime, until: datetime, shares: Shares | None = None) -> int | None:
    """Write the classes of a span of time to the items; a span before one that was written changes nothing.

    :returns: how many items changed their class; None when a later span is written already.
    """
    connection.execute(text("select pg_advisory_xact_lock(hashtext('waybill.stock_classes'))"))
    span = {"since": since.date(), "until": until.date()}
    if connection.execute(text("select exists (select from stock_classings where until > :until)"), span).scalar_one():
        return None
    found = abc_classes(connection, since, until, shares)
    changed = connection.execute(
        text("""
            update stock_items i set abc = v.value, updated_at = now()
            from jsonb_each_text(:classes) as v(item, value) where i.code = v.item and i.abc <> v.value"""),
        {"classes": Jsonb(found)},
    ).rowcount
    connection.execute(
        text("""
            insert into stock_classings (until, since) values (:until, :since)
            on conflict (until) do update set since = excluded.since, classified_at = now()"""),
        span,
    )
    return changed
