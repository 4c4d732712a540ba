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
from collections import Counter
from dataclasses import dataclass, field, replace
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
"""Cases that one run claims, as in Airflow."""
AIM_SECONDS = 60.0
AIM_MEGABYTES = 1_000
WORKFLOW = "stock_request"
SOURCE = "retail-sales"


@dataclass
class Measured:
    """Seconds of each step over all batches, by the clock and of this process; memory in megabytes."""

    rows: int
    deliveries: int = 0
    seconds: Counter[str] = field(default_factory=Counter)
    cpu: Counter[str] = field(default_factory=Counter)
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


def run(rows: int = ROWS, *, batch: int = BATCH) -> Measured:
    """Import a made-up file, take its invoices through the steps, and measure each."""
    os.environ.setdefault("WAYBILL_ENVIRONMENT", "development")
    with durable_server() as url, tempfile.TemporaryDirectory(prefix="waybill-bench-") as folder:
        path = Path(folder) / "sales.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(retail.rows(rows))
        engine = connect(url)
        preload()
        try:
            return measure(engine, path, Measured(rows), batch)
        finally:
            engine.dispose()


def preload() -> None:
    """Pay for imports and declarations, as Airflow's process does before its children run the steps."""
    from include.domain.stock_request import validate

    contract(WORKFLOW)
    validate.preload()


def measure(engine: Engine, path: Path, measured: Measured, batch: int = BATCH) -> Measured:
    """Import a file and work through what it held."""
    from tests.support.stock import take

    measured.memory_before = _megabytes()
    with _Clock(measured, "import"):
        measured.deliveries = import_rows(engine, SOURCE, path, "user:benchmark").new
    steps = contract(WORKFLOW).step_ids
    while True:
        with _Clock(measured, "capture"):
            run_id = f"bench-{time.monotonic_ns()}"
            claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=run_id, limit=batch)
        if not claimed:
            break
        position = Position(WORKFLOW, steps, steps[1], claimed.id, run_id)
        for step in steps[1:]:
            with _Clock(measured, step):
                take(engine, replace(position, step=step), step)
    measured.memory = _megabytes()
    _count(engine, measured)
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
    lines = ["| step | seconds | of which this process | rows/s |", "|---|---:|---:|---:|"]
    for step, seconds in measured.seconds.items():
        lines.append(f"| {step} | {seconds:.1f} | {measured.cpu[step]:.1f} | {measured.rows / seconds:,.0f} |")
    whole = sum(measured.seconds.values())
    verdict = "met" if whole < AIM_SECONDS * measured.rows / ROWS and measured.memory < AIM_MEGABYTES else "missed"
    lines += [
        f"| **all** | {whole:.1f} | {sum(measured.cpu.values()):.1f} | {measured.rows / whole:,.0f} |",
        "",
        f"{measured.rows:,} rows in {measured.deliveries:,} invoices. Lines: {_listed(measured.lines)}."
        f" Cases: {_listed(measured.cases)}. Most memory of the process: {measured.memory:,.0f} MB"
        f" ({measured.memory_before:,.0f} MB before it began). Aim for 500,000 rows: {AIM_SECONDS:g} s and under"
        f" {AIM_MEGABYTES:,} MB, {verdict}.",
    ]
    return "\n".join(lines)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {what}" for what, count in counts.most_common())


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--batch", type=int, default=BATCH, help="cases that one run claims")
    options = parser.parse_args()
    print(table(run(options.rows, batch=options.batch)))


if __name__ == "__main__":
    main()
