"""An edition as a spreadsheet: a sheet for each figure, what is told first in the first one.

Numbers are numbers and days are days, to reckon on; what somebody wrote is text, also where it looks like a formula.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date
from decimal import Decimal
from io import BytesIO
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from include.reporting.editions import Edition
from include.reporting.intervals import Interval
from include.reporting.model import Column, Figure, Kind, Report, shown

CONTENT_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
LONGEST_NAME = 31
"""Characters of a sheet's name; spreadsheets take no more."""
LONGEST_TEXT = 32_767
"""Characters of a cell."""
NARROWEST, WIDEST = 8, 60
"""Width of a column, in characters."""
MOST_DIGITS = 15
"""Digits that a spreadsheet keeps of a number; what has more stands there as text."""
FORMATS = {
    Kind.DAY: "yyyy-mm-dd",
    Kind.COUNT: "#,##0",
    Kind.MONEY: "#,##0.00",
    Kind.SHARE: "0.0%",
    Kind.PERCENT: "0.0%",
    Kind.RATIO: "0.00",
    Kind.SECONDS: "#,##0.0",
}


@dataclass(frozen=True)
class _Styles:
    """The formats of a workbook: its title, headings, and cells by what they hold."""

    title: Format
    heading: Format
    cells: Mapping[Kind, Format]

    @classmethod
    def of(cls, book: Workbook) -> _Styles:
        cells = {kind: book.add_format({"num_format": code}) for kind, code in FORMATS.items()}
        return cls(book.add_format({"bold": True}), book.add_format({"bold": True, "bottom": 1}), cells)


def xlsx(report: Report, edition: Edition, interval: Interval) -> bytes:
    """Return an edition as a workbook; the same edition gives the same bytes."""
    written = BytesIO()
    with Workbook(written, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False}) as book:
        book.set_properties(
            {
                "title": f"{report.title}, {interval}",
                "author": "Waybill",
                "created": edition.written_at.astimezone(UTC),
            }
        )
        styles = _Styles.of(book)
        totals, *others = report.figures
        _totals(book.add_worksheet(_name(totals)), report, edition, interval, styles)
        for figure in others:
            _figure(book.add_worksheet(_name(figure)), figure, edition.tables[figure.name], styles)
    return written.getvalue()


def _totals(sheet: Worksheet, report: Report, edition: Edition, interval: Interval, styles: _Styles) -> None:
    """What is told first: a line for each total, below what it is about."""
    preview = "Preview: " if edition.preview else ""
    about = [
        f"{preview}{report.title}, {interval}",
        f"{interval.since:%Y-%m-%d %H:%M} to {interval.until:%Y-%m-%d %H:%M} {interval.zone.key}",
        f"Revision {edition.revision}",
    ]
    for line, words in enumerate(about):
        sheet.write_string(line, 0, words, styles.title if line == 0 else None)
    columns = report.figures[0].columns
    for line, (column, value) in enumerate(zip(columns, edition.tables["totals"][0], strict=True), len(about) + 1):
        sheet.write_string(line, 0, _title(column))
        _write(sheet, (line, 1), column, value, styles)
    sheet.freeze_panes(len(about), 0)
    sheet.set_column(0, 0, max(_width([_title(column) for column in columns]), 30))
    sheet.set_column(1, 1, 18)


def _figure(sheet: Worksheet, figure: Figure, rows: Sequence[Sequence[Any]], styles: _Styles) -> None:
    """A heading for each column, which stays where it is, and a line for each row."""
    for place, column in enumerate(figure.columns):
        sheet.write_string(0, place, _title(column), styles.heading)
        cells = [shown(column, row[place]) for row in rows]
        sheet.set_column(place, place, _width([_title(column), *cells]))
    for line, row in enumerate(rows, 1):
        for place, (column, value) in enumerate(zip(figure.columns, row, strict=True)):
            _write(sheet, (line, place), column, value, styles)
    sheet.freeze_panes(1, 0)


def _write(sheet: Worksheet, cell: tuple[int, int], column: Column, value: Any, styles: _Styles) -> None:
    """Write a kept value; a missing one leaves the cell empty."""
    if value is None:
        return
    form = styles.cells.get(column.kind)
    match column.kind:
        case Kind.TEXT:
            sheet.write_string(*cell, value[:LONGEST_TEXT])
        case Kind.DAY:
            sheet.write_datetime(*cell, date.fromisoformat(value), form)
        case _:
            exact = Decimal(str(value))
            if len(exact.normalize().as_tuple().digits) > MOST_DIGITS:
                sheet.write_string(*cell, f"{exact:f}")
            else:
                sheet.write_number(*cell, float(exact), form)


def _title(column: Column) -> str:
    """A column's heading, with its unit where the cells do not show it."""
    return f"{column.title}, seconds" if column.kind is Kind.SECONDS else column.title


def _name(figure: Figure) -> str:
    """A figure's title as a sheet's name."""
    return textwrap.shorten(figure.title, LONGEST_NAME, placeholder=" …")


def _width(cells: Sequence[str]) -> int:
    return min(max(NARROWEST, *(len(cell) + 2 for cell in cells)), WIDEST)
