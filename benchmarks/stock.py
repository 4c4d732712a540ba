"""Movements of stock per second: in bulk, singly with one and eight writers, and the check of a million of them.

A PostgreSQL of its own with its durable defaults; every movement goes through `include.stock.ledger.post` and is
committed before it counts. Run it with `python -m benchmarks.stock`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, text

from benchmarks.intake import durable_server
from include.data.database import authored, connect
from include.stock.check import differences, rebuild
from include.stock.items import Item, upsert_items
from include.stock.ledger import Movement, post
from include.stock.warehouse import sync

MOVEMENTS = 1_000_000
BATCHES = (5_000, 50_000)
ITEMS = 4_000
SECONDS = 10.0
WRITERS = (1, 8)
SAME = 3
"""How many items there are where writers meet."""
AIM_BULK = 20_000
AIM_SINGLE = 1_000
BEGAN = datetime(2026, 1, 5, tzinfo=UTC)
AUTHOR = "system:benchmark"


@dataclass(frozen=True)
class Rate:
    """So many movements in so many seconds."""

    what: str
    movements: int
    seconds: float

    @property
    def per_second(self) -> float:
        """Movements per second."""
        return self.movements / self.seconds


@dataclass
class Measured:
    """What was measured; seconds of the check and of the rebuild are for all movements."""

    bulk: list[Rate] = field(default_factory=list)
    single: list[Rate] = field(default_factory=list)
    movements: int = 0
    balances: int = 0
    check: float = 0.0
    rebuild: float = 0.0


def run(movements: int = MOVEMENTS, *, seconds: float = SECONDS) -> Measured:
    """Post in bulk until there are so many movements, then singly, then check and rebuild."""
    measured = Measured()
    with durable_server() as url:
        engine = connect(url)
        try:
            prepare(engine)
            small = movements // 5
            measured.bulk.append(in_bulk(engine, "a", small, BATCHES[0]))
            measured.bulk.append(in_bulk(engine, "b", movements - small, BATCHES[1]))
            look(engine, measured)
            for writers in WRITERS:
                for items in (ITEMS, SAME):
                    measured.single.append(singly(url, writers, items, seconds))
            with engine.connect() as connection:
                assert not differences(connection)
        finally:
            engine.dispose()
    return measured


def prepare(engine: Engine) -> None:
    """Declare the locations, the items, and what is there at the beginning."""
    with authored(engine, actor=AUTHOR) as connection:
        sync(connection)
        upsert_items(connection, [Item(code(number), f"Item {number}", "goods", "pcs") for number in range(ITEMS)])
        post(
            connection,
            [
                Movement(f"begin/{n}", "receipt", code(n), "SUPPLIER", "MAIN", Decimal(10**9), BEGAN)
                for n in range(ITEMS)
            ],
        )


def code(number: int) -> str:
    """Return an item's code."""
    return f"ITEM-{number:05}"


def made(chance: random.Random, prefix: str, items: int) -> Iterator[Movement]:
    """Receipts, issues, transfers and returns without end, of items that are not asked for equally often."""
    ways = (("receipt", "SUPPLIER", "MAIN"), ("issue", "MAIN", "CUSTOMER"), ("transfer", "MAIN", "TRANSIT"))
    ways = (*ways, ("return", "CUSTOMER", "MAIN"), ("issue", "MAIN", "CUSTOMER"))
    number = 0
    while True:
        kind, source, destination = chance.choice(ways)
        item = code(int(items * chance.random() ** 2))
        at = BEGAN + timedelta(seconds=number)
        quantity = Decimal(chance.randint(1, 20))
        yield Movement(f"{prefix}/{number}", kind, item, source, destination, quantity, at, line=1)
        number += 1


def in_bulk(engine: Engine, prefix: str, movements: int, batch: int) -> Rate:
    """Post batches, each in a transaction of its own; making the movements is not measured."""
    source = made(random.Random(prefix), prefix, ITEMS)
    seconds, posted = 0.0, 0
    while posted < movements:
        prepared = [next(source) for _ in range(batch)]
        begun = time.perf_counter()
        with authored(engine, actor=AUTHOR) as connection:
            posted += post(connection, prepared)
        seconds += time.perf_counter() - begun
    return Rate(f"in batches of {batch:,}", posted, seconds)


def singly(url: str, writers: int, items: int, seconds: float) -> Rate:
    """Post one movement a transaction, from so many processes at once."""
    context = multiprocessing.get_context("spawn")
    ready, go, counts = context.Barrier(writers + 1), context.Event(), context.SimpleQueue()
    processes = [
        context.Process(target=_write, args=(url, f"{writers}/{items}/{number}", items, seconds, (ready, go, counts)))
        for number in range(writers)
    ]
    for process in processes:
        process.start()
    ready.wait(60)
    begun = time.perf_counter()
    go.set()
    posted = sum(counts.get() for _ in processes)
    took = time.perf_counter() - begun
    for process in processes:
        process.join()
    where = "the same three items" if items == SAME else f"{items:,} items"
    return Rate(f"singly, {writers} writer{'s' if writers > 1 else ''}, {where}", posted, took)


def _write(url: str, prefix: str, items: int, seconds: float, shared: tuple[Any, Any, Any]) -> None:
    ready, go, counts = shared
    engine = connect(url, pool_size=1)
    source = made(random.Random(prefix), prefix, items)
    posted = 0

    def write() -> int:
        movement = next(source)
        with authored(engine, actor=AUTHOR) as connection:
            return post(connection, [movement])

    for _ in range(20):
        write()
    ready.wait()
    go.wait()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        posted += write()
    counts.put(posted)
    engine.dispose()


def look(engine: Engine, measured: Measured) -> None:
    """Check the ledger, spoil every balance, and put them right."""
    with engine.connect() as connection:
        measured.movements = connection.execute(text("select count(*) from stock_movements")).scalar_one()
        begun = time.perf_counter()
        assert not differences(connection)
        measured.check = time.perf_counter() - begun
    with engine.begin() as connection:
        connection.execute(text("alter table stock_balances disable trigger user"))
        spoiled = connection.execute(text("update stock_balances set quantity = quantity + 1")).rowcount
        connection.execute(text("alter table stock_balances enable trigger user"))
    with authored(engine, actor=AUTHOR) as connection:
        begun = time.perf_counter()
        measured.balances = len(rebuild(connection))
        measured.rebuild = time.perf_counter() - begun
    assert measured.balances == spoiled


def table(measured: Measured) -> str:
    """Return what was measured as a Markdown table."""
    lines = ["| posted | movements | seconds | movements/s |", "|---|---:|---:|---:|"]
    lines += [
        f"| {rate.what} | {rate.movements:,} | {rate.seconds:.1f} | {rate.per_second:,.0f} |"
        for rate in (*measured.bulk, *measured.single)
    ]
    bulk = min(rate.per_second for rate in measured.bulk)
    single = min(rate.per_second for rate in measured.single[-2:])
    lines += [
        "",
        f"Aims: {AIM_BULK:,}/s in bulk, {'met' if bulk >= AIM_BULK else 'missed'};"
        f" {AIM_SINGLE:,}/s singly over eight writers, {'met' if single >= AIM_SINGLE else 'missed'}."
        f" {measured.movements:,} movements: checked in {measured.check:.1f} s; all of {measured.balances:,} spoiled"
        f" balances rebuilt in {measured.rebuild:.1f} s.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--movements", type=int, default=MOVEMENTS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="how long writers write")
    options = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} at the start")
    print(table(run(options.movements, seconds=options.seconds)))


if __name__ == "__main__":
    main()
