"""Counts: what was found at a place against what the books held at the very moment of counting.

A difference is a fact about the moment of counting, not about now: what was sold between counting and entering is no
difference, and what is dated before the count but was posted after it is part of it, once it is posted. Whoever posts a
difference therefore compares again with the places held. Who may count, and who approves, is the workflows' part.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Count:
    """What one line of a case says was found.

    :param lot: lot or serial number; empty where the item is not tracked.
    :param counted: in the item's base unit, never negative.
    :param sheet: number of the sheet that asked for it.
    """

    case_id: int
    line: int
    item: str
    location: str
    counted: Decimal
    counted_at: datetime
    lot: str = ""
    sheet: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """A count beside what the books held at its moment.

    :param expected: what all movements dated up to the moment of counting left there, that moment included.
    :param superseded: a later count of the place is settled already, and says what is there; this one adds nothing.
    """

    count: Count
    expected: Decimal
    superseded: bool

    @property
    def quantity(self) -> Decimal:
        """What is to be added (or, negative, taken away) so that the books say what was found."""
        return ZERO if self.superseded else self.count.counted - self.expected


@dataclass(frozen=True, slots=True)
class Overtaken:
    """A settled count that is not true any more, because something dated before it was posted after it."""

    item: str
    location: str
    lot: str
    counted_at: datetime
    quantity: Decimal


# What is there now, less what happened after the count: only later movements are read, however long the history is.
_DIFFERENCES = """
    with v as materialized (
        select * from jsonb_to_recordset(:rows)
        as v(n integer, item text, location text, lot text, counted_at timestamptz, case_id bigint)
    )
    select v.n, coalesce(b.quantity, 0) - later.change as expected,
           exists (select from stock_counts s
                   where s.item = v.item and s.location = v.location and s.lot = v.lot
                     and s.counted_at > v.counted_at and s.settled_at is not null and s.case_id <> v.case_id)
               as superseded
    from v left join stock_balances b on b.item = v.item and b.location = v.location and b.lot = v.lot
    cross join lateral (
        select coalesce(sum(case when m.destination = v.location then m.quantity else -m.quantity end), 0) as change
        from stock_movements m
        where m.item = v.item and m.lot = v.lot and m.moved_at > v.counted_at
          and v.location in (m.source, m.destination)) later
    order by v.n"""


def differences_of_count(connection: Connection, counts: Sequence[Count]) -> list[Difference]:
    """Compare counts with the stock at the moment of each, in one statement; one difference a count, in their order.

    Hold the places before (`ledger.hold`) where the differences are posted in the same transaction.
    """
    rows = [
        {
            "n": n,
            "item": count.item,
            "location": count.location,
            "lot": count.lot,
            "counted_at": count.counted_at.isoformat(),
            "case_id": count.case_id,
        }
        for n, count in enumerate(counts)
    ]
    found = connection.execute(text(_DIFFERENCES), {"rows": Jsonb(rows)})
    return [Difference(counts[row.n], row.expected, row.superseded) for row in found]


def record_counts(connection: Connection, case_ids: Collection[int], differences: Iterable[Difference]) -> None:
    """Keep what these cases counted, in place of what they said before; what is settled stays as it is."""
    rows = [
        {
            "case_id": difference.count.case_id,
            "line": difference.count.line,
            "sheet": difference.count.sheet,
            "item": difference.count.item,
            "location": difference.count.location,
            "lot": difference.count.lot,
            "counted": difference.count.counted,
            "counted_at": difference.count.counted_at.isoformat(),
            "expected": difference.expected,
            "superseded": difference.superseded,
        }
        for difference in differences
    ]
    values = {"ids": list(case_ids), "rows": Jsonb(rows)}
    connection.execute(
        text("""
            delete from stock_counts c where c.case_id = any(:ids) and c.settled_at is null and not exists (
                select from jsonb_to_recordset(:rows) as v(case_id bigint, line integer)
                where v.case_id = c.case_id and v.line = c.line)"""),
        values,
    )
    connection.execute(
        text("""
            insert into stock_counts as c (case_id, line, sheet, item, location, lot, counted, counted_at, expected,
                                           superseded)
            select case_id, line, sheet, item, location, lot, counted, counted_at, expected, superseded
            from jsonb_to_recordset(:rows)
                 as v(case_id bigint, line integer, sheet text, item text, location text, lot text, counted numeric,
                      counted_at timestamptz, expected numeric, superseded boolean)
            on conflict (case_id, line) do update set
                sheet = excluded.sheet, item = excluded.item, location = excluded.location, lot = excluded.lot,
                counted = excluded.counted, counted_at = excluded.counted_at, expected = excluded.expected,
                superseded = excluded.superseded
            where c.settled_at is null
              and (c.sheet, c.item, c.location, c.lot, c.counted, c.counted_at, c.expected, c.superseded)
                  is distinct from (excluded.sheet, excluded.item, excluded.location, excluded.lot, excluded.counted,
                                    excluded.counted_at, excluded.expected, excluded.superseded)"""),
        values,
    )


def settle_counts(connection: Connection, case_ids: Collection[int]) -> int:
    """Say that the differences of these cases are posted; call it in the transaction that posts them.

    :returns: how many counts are settled now that were not before.
    """
    return connection.execute(
        text("update stock_counts set settled_at = now() where case_id = any(:ids) and settled_at is null"),
        {"ids": list(case_ids)},
    ).rowcount


def overtaken(connection: Connection, since: datetime) -> list[Overtaken]:
    """Return the latest counts of places, settled since a moment, that something back-dated has made untrue.

    Nothing is put right by itself: whether the count had seen those goods, nobody knows. The place is counted anew.
    """
    found = connection.execute(
        text("""
            select c.item, c.location, c.lot, c.counted_at, late.change
            from (select distinct on (item, location, lot) * from stock_counts
                  where settled_at is not null order by item, location, lot, counted_at desc, settled_at desc) c
            cross join lateral (
                select sum(case when m.destination = c.location then m.quantity else -m.quantity end) as change
                from stock_movements m
                where m.item = c.item and m.lot = c.lot and m.moved_at <= c.counted_at and m.posted_at > c.settled_at
                  and c.location in (m.source, m.destination)) late
            where c.settled_at >= :since and late.change <> 0
            order by c.item, c.location, c.lot"""),
        {"since": since},
    )
    return [Overtaken(row.item, row.location, row.lot, row.counted_at, row.change) for row in found]
