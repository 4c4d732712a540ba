"""`python -m include.domain.replenishment explain ITEM LOCATION`: why a need was or was not opened, with all figures.

It asks nobody and changes nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, text

from include.data import database
from include.data.database import DatabaseMissing
from include.domain.purchasing import expected
from include.domain.replenishment.plan import explained
from include.stock.warehouse import warehouse

EXAMPLES = """
examples:
  what a plan would find for BOLT-8 in the main warehouse now:
      python -m include.domain.replenishment explain BOLT-8 MAIN
  what it would find with the history of 1 November, and the stock of now:
      python -m include.domain.replenishment explain BOLT-8 MAIN --day 2026-11-01
"""
_PLACE = """
    select i.code is not null as item, i.active, l.code is not null as location, r.method
    from (values (cast(:item as text), cast(:location as text))) v(item, location)
    left join stock_items i on i.code = v.item left join stock_locations l on l.code = v.location
    left join replenishment_rules r on r.item = v.item and r.location = v.location"""
_NEEDS = """
    select n.id, n.case_id, n.on_day, n.quantity, c.state, c.stage, c.outcome, c.owner,
           string_agg(a.workflow || ' case ' || a.id || ', ' || coalesce(a.outcome, a.state || ' at ' || a.stage), '; '
                      order by a.id) as asked
    from replenishment_needs n left join cases c on c.id = n.case_id left join cases a on a.parent_id = n.case_id
    where n.item = :item and n.location = :location group by n.id, c.id order by n.id desc limit 5"""


def main(arguments: Sequence[str] | None = None, target: Engine | None = None) -> int:
    """Explain; 0 when there is an answer, 1 when there is none, 2 for a wrong call."""
    wanted = _parser().parse_args(arguments)
    until = _end_of(wanted.day) if wanted.day else datetime.now(warehouse().zone)
    try:
        with (target or database.engine()).connect() as connection:
            found = explained(connection, until, wanted.item, wanted.location)
            if found is None:
                sys.stderr.write(f"{_why_not(connection, wanted.item, wanted.location)}\n")
                return 1
            told, verdict, _row = found
            sys.stdout.write(f"{wanted.item} at {wanted.location}: {verdict}\n")
            sys.stdout.writelines(f"  {line}\n" for line in _lines(told))
            sys.stdout.writelines(f"  {line}\n" for line in _known(connection, wanted.item, wanted.location))
    except DatabaseMissing as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m include.domain.replenishment",
        description="Say what is known of a place's demand and stock, and what a plan makes of it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain = parser.add_subparsers(required=True, metavar="explain").add_parser("explain", help="why, or why not")
    explain.add_argument("item", help="the item's code")
    explain.add_argument("location", help="the location's code")
    explain.add_argument("--day", type=date.fromisoformat, help="history up to the end of this day, as 2026-11-01")
    return parser


def _end_of(day: date) -> datetime:
    after = day + timedelta(days=1)
    return datetime(after.year, after.month, after.day, tzinfo=warehouse().zone)


def _why_not(connection: Connection, item: str, location: str) -> str:
    row = connection.execute(text(_PLACE), {"item": item, "location": location}).one()
    if not row.item:
        return f"There is no item {item}."
    if not row.location:
        return f"There is no location {location}."
    if not row.active:
        return f"{item} is not active, and is not replenished."
    if row.method == "off":
        return f"The rule of {item} at {location} is off."
    return f"{item} at {location} has no active rule: import one with replenishment_rules."


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    """The figures, one line each, in the order in which they follow from each other."""
    width = max(map(len, told))
    for name, value in told.items():
        shown = "-" if value is None else f"{value:g}" if isinstance(value, float) else value
        yield f"{name.replace('_', ' '):<{width}}  {shown}"


def _known(connection: Connection, item: str, location: str) -> Iterator[str]:
    for order in expected(connection, item):
        yield f"order {order.order}: {order.quantity.normalize():f} {order.unit} of {item} still expected"
    for need in connection.execute(text(_NEEDS), {"item": item, "location": location}):
        where = need.outcome or f"{need.state} at {need.stage}, with {need.owner}"
        asked = f"; {need.asked}" if need.asked else ""
        yield f"need {need.id} of {need.on_day}, {need.quantity.normalize():f}: case {need.case_id}, {where}{asked}"


if __name__ == "__main__":
    sys.exit(main())
