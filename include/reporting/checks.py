"""What Great Expectations says of a report before it is published: any fault refuses the whole edition.

What columns hold says what is possible: counts are not below zero, shares are between nothing and all, what must be
there is there, no row is there twice. Beside that a report declares sums that agree, controls, and what it waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pandas as pd

from include.cases.model import Reason
from include.data.validation.runner import check, meta
from include.reporting.figures import Read
from include.reporting.model import Column, Figure, Kind, Report, Rows, number, numbers

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

ID = "id"
MOST_CELLS = 1_000_000
MOST_REASONS = 20
NAMES = (Kind.TEXT, Kind.DAY)
WAITS = "report.waits"
"""The code of what passes by itself."""


def faults(report: Report, found: Read) -> list[Reason]:
    """Return why a report is not to be published; empty when it may be."""
    reasons = [Reason(WAITS, f"{what}: {number}.") for what, number in found.waits if number]
    if len(found.tables["totals"]) != 1:
        reasons.append(Reason("report.totals", f"There are {len(found.tables['totals'])} rows of totals, not one."))
    # What does not agree comes first: it says more than the many cells that are wrong with it.
    for frame, suite in ((_comparisons(report, found), comparison_suite), (_cells(report, found), cell_suite)):
        reasons += _failures(frame, suite)
    return reasons[:MOST_REASONS]


def _failures(frame: pd.DataFrame, suite: Callable[[], ExpectationSuite]) -> list[Reason]:
    checked = check(frame, suite, ID)
    about_rows = [reason for of_row in checked.failures.values() for reason in of_row]
    return about_rows + [Reason(code, "The report as a whole does not meet this.") for code in checked.unmet]


def _cells(report: Report, found: Read) -> pd.DataFrame:
    """One row for each cell of each figure: what it holds, and what it may hold at least and at most.

    `lacking` and `twice` name the place of a fault, and are empty where there is none.
    """
    cells = [cell for figure in report.figures for cell in _of_figure(figure, found.tables[figure.name])]
    frame = pd.DataFrame(cells, columns=["place", "value", "least", "most", "lacking", "twice"], dtype=object)
    for name in ("value", "least", "most"):
        frame[name] = frame[name].astype("float64")
    return frame.assign(**{ID: range(1, len(frame) + 1)})


def _of_figure(figure: Figure, rows: Rows) -> Iterator[tuple[Any, ...]]:
    keys = [place for place, column in enumerate(figure.columns) if column.kind in NAMES and not column.optional]
    times = Counter(tuple(row[place] for place in keys) for row in rows)
    for line, row in enumerate(rows, 1):
        twice = bool(keys) and times[tuple(row[place] for place in keys)] > 1
        for place, (column, value) in enumerate(zip(figure.columns, row, strict=True)):
            where = f"{figure.title}, row {line}: {column.title}"
            yield (
                where,
                number(column, value),
                *_bounds(column),
                where if value is None and not column.optional else None,
                where if twice and place == keys[0] else None,
            )


def _bounds(column: Column) -> tuple[float | None, float | None]:
    if column.kind in NAMES or column.signed:
        return None, None
    return 0, 1 if column.kind is Kind.SHARE else None


def cell_suite() -> ExpectationSuite:
    """Return the rules for single values."""
    from great_expectations import ExpectationSuite  # noqa: PLC0415 - takes five seconds

    gxe: Any = import_module("great_expectations.expectations")

    def at_least(larger: str, smaller: str) -> Any:
        return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
            column_A=larger,
            column_B=smaller,
            or_equal=True,
            ignore_row_if="either_value_is_missing",
            severity="critical",
            meta=meta("report.impossible", "{place} cannot be {value}."),
        )

    def never(column: str, code: str, message: str) -> Any:
        return gxe.ExpectColumnValuesToBeNull(column=column, severity="critical", meta=meta(code, message))

    return ExpectationSuite(
        name="report_cells",
        expectations=[
            gxe.ExpectTableRowCountToBeBetween(max_value=MOST_CELLS, severity="critical", meta=meta("report.size", "")),
            never("lacking", "report.missing", "{lacking} is missing."),
            never("twice", "report.twice", "{twice} is there twice."),
            at_least("value", "least"),
            at_least("most", "value"),
        ],
    )


def _comparisons(report: Report, found: Read) -> pd.DataFrame:
    """One row for each control and each pair of sums, as exact texts."""
    compared = list(found.controls)
    for pair in report.sums:
        one, other = (
            sum(numbers(report.figure(figure), found.tables[figure], column), Decimal(0))
            for figure, column in (pair.one, pair.other)
        )
        compared.append((pair.name, one, other))
    exact = [(name, f"{expected.normalize():f}", f"{value.normalize():f}") for name, expected, value in compared]
    frame = pd.DataFrame(exact, columns=["what", "expected", "found"], dtype=object)
    return frame.assign(**{ID: range(1, len(frame) + 1)})


def comparison_suite() -> ExpectationSuite:
    """Return the rule for what must agree."""
    from great_expectations import ExpectationSuite  # noqa: PLC0415 - takes five seconds

    gxe: Any = import_module("great_expectations.expectations")
    return ExpectationSuite(
        name="report_comparisons",
        expectations=[
            gxe.ExpectColumnPairValuesToBeEqual(
                column_A="expected",
                column_B="found",
                severity="critical",
                meta=meta("report.disagrees", "{what}: expected {expected}, found {found}."),
            )
        ],
    )
