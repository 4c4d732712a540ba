"""How fast movements are valued: one item with all of them, and the same number over thousands of items.

A PostgreSQL of its own with its durable defaults. Run it with `python -m benchmarks.stock_values`.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime

import psutil
from sqlalchemy import Engine, text

from benchmarks.intake import durable_server
from include.data.database import authored, connect
from include.stock.periods import close
from include.stock.valuation import stock_value, value
from include.stock.warehouse import sync

MOVEMENTS = 500_000
ITEMS = 4_000
AIM = 15.0
_ITEMS = text("""
    insert into stock_items (code, title, item_group, base_unit)
    select 'V-' || n, 'Item ' || n, :item_group, 'pcs' from generate_series(1, :items) n""")
_MOVEMENTS = text("""
    insert into stock_movements (key, kind, item, source, destination, quantity, unit_cost, moved_at)
    select 'bench/' || n, case when n % 5 < 2 then 'receipt' else 'issue' end, 'V-' || (1 + n / 5 % :items),
           case when n % 5 < 2 then 'SUPPLIER' else 'SHOP' end, case when n % 5 < 2 then 'SHOP' else 'CUSTOMER' end,
           case when n % 5 < 2 then 30 else 19 end, case when n % 5 < 2 then 5 + n % 97 * 0.0713 end,
           timestamptz '2026-01-01' + n * interval '40 seconds'
    from generate_series(0, :movements - 1) n""")


@dataclass
class Figures:
    """Seconds, by what was done; `memory_mb` is what this process grew by."""

    method: str
    items: int
    movements: int
    posting: float
    valuing: float
    again: float
    late: float
    revalued: int
    reading: float
    closing: float
    memory_mb: float


def measure(engine: Engine, group: str, items: int, movements: int) -> Figures:
    """Post movements, value them, post one that is late, read the value, and close a month."""
    process = psutil.Process()
    with authored(engine, actor="system:benchmark") as connection:
        sync(connection)
        connection.execute(_ITEMS, {"items": items, "item_group": group})
    began = time.monotonic()
    with authored(engine, actor="system:benchmark") as connection:
        connection.execute(_MOVEMENTS, {"items": items, "movements": movements})
    posting = time.monotonic() - began
    before = process.memory_info().rss
    valuing = _seconds(engine)
    grown = (process.memory_info().rss - before) / 2**20
    again = _seconds(engine)
    with authored(engine, actor="system:benchmark") as connection:
        connection.execute(
            text("""
                insert into stock_movements (key, kind, item, source, destination, quantity, unit_cost, moved_at)
                select 'bench/late', 'receipt', 'V-1', 'SUPPLIER', 'SHOP', 7, 6, max(moved_at) - interval '1 minute'
                from stock_movements where item = 'V-1'""")
        )
    began = time.monotonic()
    with engine.begin() as connection:
        revalued = value(connection).revalued
    late = time.monotonic() - began
    began = time.monotonic()
    with engine.begin() as connection:
        stock_value(connection, on=date(2026, 5, 31))
    reading = time.monotonic() - began
    began = time.monotonic()
    with authored(engine, actor="system:benchmark") as connection:
        close(connection, date(2026, 3, 1), "system:benchmark", now=datetime(2027, 1, 1, tzinfo=UTC))
    return Figures(
        group, items, movements, posting, valuing, again, late, revalued, reading, time.monotonic() - began, grown
    )


def run(movements: int = MOVEMENTS) -> list[Figures]:
    """Measure both methods, over one item and over many, each on a database of its own."""
    figures = []
    for group in ("material", "goods"):
        for items in (1, ITEMS):
            with durable_server() as url:
                engine = connect(url)
                figures.append(measure(engine, group, items, movements))
                engine.dispose()
    return figures


def table(figures: list[Figures]) -> str:
    """Lay the figures out as Markdown."""
    lines = [
        "| group | items | movements | posted in s | valued in s | per s | a late one in s | re-valued | value on a day"
        " in s | a month closed in s | memory MB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {each.method} | {each.items:,} | {each.movements:,} | {each.posting:.1f} | {each.valuing:.1f} |"
        f" {each.movements / each.valuing:,.0f} | {each.late:.2f} | {each.revalued:,} | {each.reading:.2f} |"
        f" {each.closing:.2f} | {each.memory_mb:.0f} |"
        for each in figures
    ]
    return "\n".join(lines) + f"\n\nAim: {MOVEMENTS:,} movements valued in {AIM:.0f} s."


def _seconds(engine: Engine) -> float:
    began = time.monotonic()
    with engine.begin() as connection:
        value(connection)
    return time.monotonic() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stock_values", description=__doc__)
    parser.add_argument("--movements", type=int, default=MOVEMENTS)
    print(table(run(parser.parse_args().movements)))
