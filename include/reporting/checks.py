"""What Great Expectations says of a report before it is published: any fault refuses the whole edition.

The rules follow from what the columns hold: counts are not below zero, shares are between nothing and all, what must be
there is there, no row is there twice. Beside them, what a report declares: sums that agree, and controls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pandas as pd

from include.cases.model import Reason
from include.data.validation.runner import check, meta
from include.reporting.figures import Read
from include.reporting.model import Column, Figure, Kind, Report, number, numbers

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

ROW = "row"
LONGEST_TABLE = 100_000  # rows
MOST_REASONS = 20
NAMES = (Kind.TEXT, Kind.DAY)


def faults(report: Report, found: Read) -> list[Reason]:
    """Return why a report is not to be published; empty when it may be."""
    reasons = []
    for figure in report.figures:
        rows = found.tables[figure.name]
        if figure.name == "totals" and len(rows) != 1:
            reasons.append(Reason("report.totals", f"The totals of {report.name} have {len(rows)} rows, not one."))
        reasons += _failures(_frame(figure, rows), _suite_of(report.name, figure))
    reasons += _failures(_compared(report, found), _agreement)
    return reasons[:MOST_REASONS]


def _failures(frame: pd.DataFrame, suite: Callable[[], ExpectationSuite]) -> list[Reason]:
    checked = check(frame, suite, ROW)
    about_rows = [reason for of_row in checked.failures.values() for reason in of_row]
    return about_rows + [Reason(code, f"{code} is not met by the table as a whole.") for code in checked.unmet]


def _frame(figure: Figure, rows: list[list[Any]]) -> pd.DataFrame:
    columns: dict[str, Any] = {ROW: range(1, len(rows) + 1)}
    for place, column in enumerate(figure.columns):
        values = [row[place] for row in rows]
        numeric = column.kind not in NAMES
        columns[column.name] = pd.Series(
            [number(column, value) for value in values] if numeric else values, dtype="float64" if numeric else object
        )
    return pd.DataFrame(columns)


@cache
def _suite_of(report: str, figure: Figure) -> Callable[[], ExpectationSuite]:
    def suite() -> ExpectationSuite:
        from great_expectations import ExpectationSuite  # noqa: PLC0415 - takes five seconds

        return ExpectationSuite(name=f"report_{report}_{figure.name}", expectations=list(_expectations(figure)))

    return suite


def _expectations(figure: Figure) -> Iterator[Any]:
    gxe: Any = import_module("great_expectations.expectations")
    yield gxe.ExpectTableRowCountToBeBetween(
        max_value=LONGEST_TABLE, severity="critical", meta=meta("report.too_long", f"{figure.title} is too long.")
    )
    for column in figure.columns:
        where = f"{figure.title}, row {{{ROW}}}: {column.title}"
        if not column.optional:
            yield gxe.ExpectColumnValuesToNotBeNull(
                column=column.name, severity="critical", meta=meta("report.missing", f"{where} is missing.")
            )
        least, most = _bounds(column)
        if least is not None or most is not None:
            yield gxe.ExpectColumnValuesToBeBetween(
                column=column.name,
                min_value=least,
                max_value=most,
                severity="critical",
                meta=meta("report.impossible", f"{where} cannot be {{{column.name}}}."),
            )
    keys = [column.name for column in figure.columns if column.kind in NAMES and not column.optional]
    if len(keys) > 1:
        yield gxe.ExpectCompoundColumnsToBeUnique(
            column_list=keys, severity="critical", meta=meta("report.twice", f"{figure.title} has row {{{ROW}}} twice.")
        )
    elif keys:
        yield gxe.ExpectColumnValuesToBeUnique(
            column=keys[0], severity="critical", meta=meta("report.twice", f"{figure.title} has row {{{ROW}}} twice.")
        )


def _bounds(column: Column) -> tuple[float | None, float | None]:
    if column.kind in NAMES or column.signed:
        return None, None
    return 0, 1 if column.kind is Kind.SHARE else None


def _compared(report: Report, found: Read) -> pd.DataFrame:
    """One row for each control and each pair of sums, as exact texts."""
    compared = list(found.controls)
    for pair in report.sums:
        sides = [
            sum(numbers(report.figure(figure), found.tables[figure], column), Decimal(0))
            for figure, column in (pair.one, pair.other)
        ]
        compared.append((pair.name, sides[0], sides[1]))
    return pd.DataFrame(
        {
            ROW: range(1, len(compared) + 1),
            "what": [name for name, _, _ in compared],
            "expected": [_exact(expected) for _, expected, _ in compared],
            "found": [_exact(value) for _, _, value in compared],
        }
    )


def _exact(value: Decimal) -> str:
    return f"{value.normalize():f}"


def _agreement() -> ExpectationSuite:
    from great_expectations import ExpectationSuite  # noqa: PLC0415 - takes five seconds

    gxe: Any = import_module("great_expectations.expectations")
    return ExpectationSuite(
        name="report_controls",
        expectations=[
            gxe.ExpectColumnPairValuesToBeEqual(
                column_A="expected",
                column_B="found",
                severity="critical",
                meta=meta("report.disagrees", "{what}: expected {expected}, found {found}."),
            )
        ],
    )
