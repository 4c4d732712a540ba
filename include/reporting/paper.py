"""An edition as PDF: what is told first, and every figure with its plot."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from fpdf import FPDF
from fpdf.enums import Align, TableBordersLayout
from fpdf.fonts import FontFace

from include.data.pdf import SANS, document, write
from include.reporting.charts import chart, png
from include.reporting.editions import Edition
from include.reporting.intervals import Interval
from include.reporting.model import Figure, Kind, Report, shown

MOST_ROWS = 40
"""Rows of a figure on paper; the files have all of them."""
NAMES = (Kind.TEXT, Kind.DAY)


def pdf(report: Report, edition: Edition, interval: Interval) -> bytes:
    """Return an edition as a PDF document; the same edition gives the same bytes."""
    headline = f"{'Preview: ' if edition.preview else ''}{report.title}, {interval}"
    page = document(headline, "Waybill", edition.written_at, landscape=True)
    write(page, headline, size=18, style="B")
    write(page, f"{interval.since:%Y-%m-%d %H:%M} to {interval.until:%Y-%m-%d %H:%M} {interval.zone.key}", size=9)
    page.ln(4)
    totals, *others = report.figures
    for column, value in zip(totals.columns, edition.tables["totals"][0], strict=True):
        write(page, f"{column.title}: {shown(column, value)}", size=11)
    for figure in others:
        _figure(page, figure, edition.tables[figure.name])
    return bytes(page.output())


def _figure(page: FPDF, figure: Figure, rows: list[list[Any]]) -> None:
    page.ln(6)
    write(page, figure.title, size=13, style="B")
    if not rows:
        write(page, "Nothing.")
        return
    drawn = chart(figure, rows)
    if drawn is not None:
        page.image(BytesIO(png(drawn)), w=150)
        page.ln(2)
    page.set_font(SANS, "", 8)
    with page.table(
        text_align=tuple(Align.L if column.kind in NAMES else Align.R for column in figure.columns),
        headings_style=FontFace(emphasis="BOLD"),
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        padding=0.8,
    ) as table:
        heads = [column.title for column in figure.columns]
        for cells in (
            heads,
            *([shown(c, v) for c, v in zip(figure.columns, row, strict=True)] for row in rows[:MOST_ROWS]),
        ):
            line = table.row()
            for cell in cells:
                line.cell(cell)
    if len(rows) > MOST_ROWS:
        write(page, f"… and {len(rows) - MOST_ROWS} more in the files.", size=8)
