"""`make bench`: measures intake, throughput and latency, matching, stock, pages, reports, a person's data and watching.

It prints tables; those of a run worth keeping go to RESULTS.md, with the machine that they were measured on.
"""

from __future__ import annotations

import argparse
import os
import platform
import runpy
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

import psutil

from benchmarks import (
    approvals,
    company,
    end_to_end,
    intake,
    matching_invoices,
    pages,
    person_data,
    replenishment,
    reports,
    stock,
    stock_import,
    stock_values,
    watching,
)

PARTS = (
    "intake",
    "leads",
    "matching",
    "invoices",
    "approvals",
    "replenishment",
    "stock",
    "stock_values",
    "stock_import",
    "reports",
    "pages",
    "person_data",
    "watching",
)


def machine() -> str:
    """Say what the figures were measured on."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}"
        f" {platform.machine()}, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f} at the start"
    )


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help=f"any of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="smaller sizes: minutes instead of half an hour")
    options = parser.parse_args()
    parts = options.parts or PARTS
    print(f"Measured on: {machine()}\n")
    if "intake" in parts:
        print("## Intake\n")
        print(intake.table(intake.run(deliveries=1_000 if options.quick else 6_000)), end="\n\n")
    if "leads" in parts:
        print("## Leads, from webhook to finished case\n")
        print(end_to_end.table(*end_to_end.run((100, 1_000) if options.quick else end_to_end.SIZES)), end="\n\n")
    if "approvals" in parts:
        print("## Requests that wait for people\n", flush=True)
        print(approvals.table(approvals.run(100 if options.quick else approvals.WAITING)), end="\n\n")
    if "matching" in parts:
        print("## Matching\n", flush=True)
        sys.argv = ["benchmarks.matching.evaluate", *(["--quick"] if options.quick else [])]
        runpy.run_module("benchmarks.matching.evaluate", run_name="__main__")
    if "invoices" in parts:
        print("## Invoices, from received to booked\n", flush=True)
        print(matching_invoices.table(matching_invoices.run(2_000 if options.quick else 10_000)), end="\n\n")
    if "replenishment" in parts:
        print("## A plan of replenishment\n", flush=True)
        sizes = (5_000, 100_000) if options.quick else (replenishment.PLACES, replenishment.MOVEMENTS)
        print(replenishment.table(replenishment.run(*sizes)), end="\n\n")
    if "stock" in parts:
        print("## Movements of stock\n", flush=True)
        movements, seconds = (100_000, 3.0) if options.quick else (stock.MOVEMENTS, stock.SECONDS)
        print(stock.table(stock.run(movements, seconds=seconds)), end="\n\n")
    if "stock_values" in parts:
        print("## What stock is worth\n", flush=True)
        print(stock_values.table(stock_values.run(50_000 if options.quick else stock_values.MOVEMENTS)), end="\n\n")
    if "stock_import" in parts:
        print("## A shop's year of invoices, from the file to the ERP\n", flush=True)
        print(stock_import.table(stock_import.run(50_000 if options.quick else stock_import.ROWS)), end="\n\n")
    if {"reports", "pages", "person_data"} & set(parts):
        _over_a_year(parts, 50_000 if options.quick else company.CASES)
    if "watching" in parts:
        print("## Watching, when nothing happens\n", flush=True)
        print(watching.table(watching.run(1 if options.quick else watching.MINUTES)), end="\n\n")


def _over_a_year(parts: Sequence[str], cases: int) -> None:
    """Measure reports, pages and a person's data over the same year; the pages show reports, the person goes last."""
    with company.a_year(cases) as engine:
        made = reports.run(engine) if {"reports", "pages"} & set(parts) else None
        if made and "reports" in parts:
            print(
                f"## A day's reports, of a year with {cases:,} cases\n\n{reports.table(made)}", end="\n\n", flush=True
            )
        if "pages" in parts:
            print(f"## Ops pages, with {cases:,} cases\n", flush=True)
            print(pages.table(pages.run(engine)), end="\n\n")
        if "person_data" in parts:
            print(f"## A person's data, with {cases:,} cases\n", flush=True)
            print(person_data.table(person_data.run(engine, cases)), end="\n\n")


if __name__ == "__main__":
    main()
