"""How long a plan of 50,000 places takes over a history of 1,000,000 movements, without Airflow around it.

A PostgreSQL of its own with its durable defaults. Some two in five places run short, and all their needs are opened
with their cases; then the same day is planned again, and one place is explained. Run it with
`python -m benchmarks.replenishment`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

import psutil
from sqlalchemy import Engine, text

from benchmarks.intake import durable_server
from include.data.database import authored, connect
from include.domain.replenishment.figures import WINDOW_DAYS, Window, figures
from include.domain.replenishment.plan import Planned, explained, plan
from include.stock.warehouse import sync, warehouse

PLACES = 50_000
MOVEMENTS = 1_000_000
AIM_SECONDS = 30.0
Result = TypeVar("Result")


@dataclass
class Measured:
    """What a plan takes.

    :param seconds: what was done -> seconds by the clock.
    :param memory_mb: the largest resident memory of this process; the database has its own.
    """

    places: int
    movements: int
    seconds: dict[str, float] = field(default_factory=dict)
    planned: Planned = field(default_factory=Planned)
    memory_mb: float = 0.0


def run(places: int = PLACES, movements: int = MOVEMENTS) -> Measured:
    """Fill a database with history, and plan yesterday twice."""
    with durable_server() as url:
        engine = connect(url)
        try:
            measured = Measured(places, movements)
            until = datetime.now(warehouse().zone).replace(hour=0, minute=0, second=0, microsecond=0)
            fill(engine, places, movements, until)
            _timed(measured, "figures alone", lambda: _figures(engine, until))
            measured.planned = _timed(measured, "plan, needs opened", lambda: plan(engine, until))
            again = _timed(measured, "the same day again", lambda: plan(engine, until))
            _timed(measured, "one place explained", lambda: _explain(engine, until))
            measured.memory_mb = psutil.Process().memory_info().rss / 2**20
            check(engine, measured.planned, again)
        finally:
            engine.dispose()
    return measured


def _timed(measured: Measured, what: str, action: Callable[[], Result]) -> Result:
    begun = time.perf_counter()
    result = action()
    measured.seconds[what] = time.perf_counter() - begun
    return result


def _figures(engine: Engine, until: datetime) -> None:
    with engine.connect() as connection:
        figures(connection, Window(until))


def _explain(engine: Engine, until: datetime) -> None:
    with engine.connect() as connection:
        assert explained(connection, until, "ITEM-00001", "MAIN")


def fill(engine: Engine, places: int, movements: int, until: datetime) -> None:
    """Enter items at three places, a receipt for each place, and issues over the window and a month before.

    The movements are entered without their triggers, and the balances from the movements: how fast the ledger posts is
    measured elsewhere.
    """
    values = {"places": places, "until": until, "days": WINDOW_DAYS + 30, "begins": until - timedelta(days=240)}
    with authored(engine, actor="system:benchmark") as connection:
        sync(connection)
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(
            text("""
                insert into stock_items (code, title, item_group, base_unit)
                select 'ITEM-' || lpad(n::text, 5, '0'), 'Item ' || n, 'goods', 'pcs'
                from generate_series(1, cast(:places as integer) / 3 + 1) n"""),
            values,
        )
        connection.execute(
            text("""
                create temporary table spots on commit drop as
                select row_number() over (order by code, place) as n, code as item, place as location
                from stock_items cross join unnest(array['MAIN', 'SHOP', 'COLD']) as place
                order by 1 limit :places"""),
            values,
        )
        connection.execute(
            text("""
                insert into stock_movements (key, kind, item, source, destination, quantity, moved_at)
                select 'in/' || n, 'receipt', item, 'SUPPLIER', location, (n % 5) * 8 + :issues * 3, :begins
                from spots"""),
            values | {"issues": movements // places},
        )
        connection.execute(
            text("""
                insert into stock_movements (key, kind, item, source, destination, quantity, moved_at)
                select 'out/' || g, 'issue', s.item, s.location, 'CUSTOMER', 1 + g / cast(:places as integer) % 5,
                       cast(:until as timestamptz)
                           - ((g::bigint * 7919) % (cast(:days as integer) * 1440)) * interval '1 minute'
                from generate_series(1, cast(:issues as integer)) g
                join spots s on s.n = 1 + g % cast(:places as integer)
                order by 7"""),
            values | {"issues": movements - places},
        )
        connection.execute(
            text("""
                insert into stock_balances (item, location, quantity, real, negative, serial)
                select item, location, quantity, l.real, l.negative or not l.real, false
                from stock_rebuilt join stock_locations l on l.code = location""")
        )
        connection.execute(
            text("""
                insert into replenishment_rules (item, location, method, supplier, unit_price, currency, tax_rate,
                                                 cost_centre, category, requester, multiple, lead_time_days)
                select item, location, 'reorder_point', 'S-100', 0.5, 'EUR', 0.19, '6300', 'material', 'lena.hoffmann',
                       12, 7 + n % 30 from spots""")
        )
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))


def check(engine: Engine, first: Planned, second: Planned) -> None:
    """Fail when a case is lost, a need has none, or the second plan opened one."""
    with engine.connect() as connection:
        lost, bare, double = connection.execute(
            text("""
                select (select count(*) from balance where difference <> 0),
                       (select count(*) from replenishment_needs where case_id is null),
                       (select count(*) from (select from replenishment_needs where closed_at is null
                                              group by item, location having count(*) > 1) d)""")
        ).one()
    assert (lost, bare, double, second.opened) == (0, 0, 0, 0), (lost, bare, double, second)
    assert 0 < first.opened < first.places, first


def table(measured: Measured) -> str:
    """Return what was measured as a Markdown table."""
    lines = ["| what | seconds | places/s |", "|---|---:|---:|"]
    for what, seconds in measured.seconds.items():
        rate = f"{measured.places / seconds:,.0f}" if what != "one place explained" else ""
        lines.append(f"| {what} | {seconds:.2f} | {rate} |")
    took = measured.seconds["plan, needs opened"]
    lines += [
        "",
        f"{measured.places:,} places, {measured.movements:,} movements; {measured.planned.opened:,} needs opened. A"
        f" plan takes {took:.1f} s (aim {AIM_SECONDS:g} s: {'met' if took <= AIM_SECONDS else 'missed'}) and"
        f" {measured.memory_mb:,.0f} MB of memory.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, default=PLACES)
    parser.add_argument("--movements", type=int, default=MOVEMENTS)
    options = parser.parse_args()
    print(table(run(options.places, options.movements)))


if __name__ == "__main__":
    main()
