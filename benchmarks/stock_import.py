"""How long 500,000 rows of a shop's invoices take from the file to the ERP, step by step, without Airflow around it.

A PostgreSQL of its own with its durable defaults, and the built-in ERP: `python -m benchmarks.stock_import`.
"""

from __future__ import annotations

import argparse
import csv
import os
import resource
import sys
import tempfile
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path

from sqlalchemy import Engine, text

from benchmarks.intake import durable_server
from include.cases import store
from include.cases.steps import Position
from include.contracts.registry import contract
from include.data.database import connect
from include.intake.imports import import_rows
from include.samples import retail

ROWS = 500_000
BATCH = 5_000
RUNS = 2
"""Cases that one run claims, and runs at once, as in Airflow."""
AIM_SECONDS = 60.0
AIM_MEGABYTES = 1_000
WORKFLOW = "stock_request"
SOURCE = "retail-sales"


def _zeros() -> dict[str, float]:
    return defaultdict(float)


@dataclass
class Measured:
    """Seconds of each step over all runs, by the clock and of their processes; memory in megabytes.

    :param wall: seconds from the first row to the last closed case; runs go on side by side.
    :param memory: the most that one process had.
    """

    rows: int
    wall: float = 0
    deliveries: int = 0
    seconds: dict[str, float] = field(default_factory=_zeros)
    cpu: dict[str, float] = field(default_factory=_zeros)
    memory: float = 0
    memory_before: float = 0
    lines: Counter[str] = field(default_factory=Counter)
    cases: Counter[str] = field(default_factory=Counter)


class _Clock:
    def __init__(self, measured: Measured, step: str) -> None:
        self._measured, self._step = measured, step

    def __enter__(self) -> None:
        self._begun = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self._measured.seconds[self._step] += time.perf_counter() - self._begun[0]
        self._measured.cpu[self._step] += time.process_time() - self._begun[1]


def run(rows: int = ROWS, *, batch: int = BATCH, runs: int = RUNS) -> Measured:
    """Import a made-up file, take its invoices through the steps in so many runs at once, and measure each."""
    os.environ.setdefault("WAYBILL_ENVIRONMENT", "development")
    with durable_server() as url, tempfile.TemporaryDirectory(prefix="waybill-bench-") as folder:
        path = Path(folder) / "sales.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(retail.rows(rows))
        preload()
        return measure(url, path, Measured(rows), batch=batch, runs=runs)


def preload() -> None:
    """Pay for imports and declarations, as Airflow's process does before its children run the steps."""
    from include.domain.stock_request import validate

    contract(WORKFLOW)
    validate.preload()


def measure(url: str, path: Path, measured: Measured, *, batch: int, runs: int) -> Measured:
    """Import a file and work through what it held."""
    measured.memory_before = _megabytes()
    engine = connect(url)
    try:
        began = time.perf_counter()
        with _Clock(measured, "import"):
            measured.deliveries = import_rows(engine, SOURCE, path, "user:benchmark").new
        engine.dispose()
        with ProcessPoolExecutor(runs, mp_context=get_context("fork")) as pool:
            for part in pool.map(_work, [url] * runs, [batch] * runs):
                for step, seconds in part.seconds.items():
                    measured.seconds[step] += seconds
                    measured.cpu[step] += part.cpu[step]
                measured.memory = max(measured.memory, part.memory)
        measured.wall = time.perf_counter() - began
        measured.memory = max(measured.memory, _megabytes())
        _count(engine, measured)
    finally:
        engine.dispose()
    return measured


def _work(url: str, batch: int) -> Measured:
    """Be one run after another until nothing is pending, as a process of its own."""
    from tests.support.stock import take

    engine, measured = connect(url), Measured(0)
    steps = contract(WORKFLOW).step_ids
    while True:
        with _Clock(measured, "capture"):
            run_id = f"bench-{os.getpid()}-{time.monotonic_ns()}"
            claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=run_id, limit=batch)
        if not claimed:
            break
        position = Position(WORKFLOW, steps, steps[1], claimed.id, run_id)
        for step in steps[1:]:
            with _Clock(measured, step):
                take(engine, replace(position, step=step), step)
    measured.memory = _megabytes()
    return measured


def _megabytes() -> float:
    """The most memory that this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _count(engine: Engine, measured: Measured) -> None:
    """Count what became of lines and cases; fail when one is lost or the stock is not what its movements say."""
    with engine.connect() as connection:
        wrong = connection.execute(
            text("""
                select (select count(*) from balance where difference <> 0),
                       (select count(*) from (select item, location, lot, quantity from stock_balances
                                              where quantity <> 0
                                              except select * from stock_rebuilt) d)""")
        ).one()
        assert not any(wrong), wrong
        for what, count in connection.execute(
            text("""
                select coalesce(l.verdict || coalesce(': ' || l.reason, ''), c.state || ' at ' || c.stage), count(*)
                from stock_request_lines l join stock_requests r using (case_id) join cases c on c.id = l.case_id
                where r.source = :source group by 1"""),
            {"source": SOURCE},
        ):
            measured.lines[what] = count
        for what, count in connection.execute(
            text("""
                select coalesce(outcome, reasons->0->>'code', state || ' at ' || stage), count(*) from cases
                where workflow = :workflow group by 1"""),
            {"workflow": WORKFLOW},
        ):
            measured.cases[what] = count


def table(measured: Measured) -> str:
    """Return what was measured as a Markdown table."""
    lines = ["| step | seconds, of all runs | of which Python |", "|---|---:|---:|"]
    for step, seconds in measured.seconds.items():
        lines.append(f"| {step} | {seconds:.1f} | {measured.cpu[step]:.1f} |")
    in_time = measured.wall < AIM_SECONDS * measured.rows / ROWS
    verdict = "met" if in_time and measured.memory < AIM_MEGABYTES else "missed"
    lines += [
        f"| **together** | {sum(measured.seconds.values()):.1f} | {sum(measured.cpu.values()):.1f} |",
        "",
        f"**{measured.rows:,} rows in {measured.deliveries:,} invoices: {measured.wall:.1f} s**"
        f" ({measured.rows / measured.wall:,.0f} rows/s), most memory of a process {measured.memory:,.0f} MB"
        f" ({measured.memory_before:,.0f} MB before it began). Aim for 500,000 rows: {AIM_SECONDS:g} s and under"
        f" {AIM_MEGABYTES:,} MB, {verdict}. Lines: {_listed(measured.lines)}. Cases: {_listed(measured.cases)}.",
    ]
    return "\n".join(lines)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.most_common())


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--batch", type=int, default=BATCH, help="cases that one run claims")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs at once")
    options = parser.parse_args()
    print(table(run(options.rows, batch=options.batch, runs=options.runs)))


if __name__ == "__main__":
    main()
