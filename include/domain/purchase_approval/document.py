"""A purchase order as PDF: the same order gives the same bytes, and every name in it can be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from typing import Any

from fpdf import FPDF
from fpdf.enums import Align, TableBordersLayout
from fpdf.fonts import FontFace

from include.data import money
from include.data.pdf import SANS, document, write
from include.domain.purchase_approval.content import figure, number
from include.domain.purchase_approval.orders import Order
from include.domain.purchasing import Company, purchasing

_COLUMNS = (9, 76, 20, 18, 27, 15, 30)  # share of the width
_HEADS = ("", "Description", "Quantity", "Unit", "Price", "Tax", "Amount")


def pdf(order: Order) -> bytes:
    """Return the order as a PDF document."""
    head, company = order.head, purchasing().company
    # Its clock is the order's, so that a mail that is planned again has the very same attachment.
    day = datetime.combine(head["day"], time(), UTC)
    page = document(f"Purchase order {head['number']}", company.name, day)
    _letterhead(page, company, head)
    _table(page, order)
    _totals(page, head)
    _foot(page, company, head)
    return bytes(page.output())


def _letterhead(page: FPDF, company: Company, head: Mapping[str, Any]) -> None:
    write(page, f"{company.name}\n{company.address}\nVAT {company.vat_id}", size=9)
    page.ln(8)
    country = f"\n{head['supplier_country']}" if head["supplier_country"] else ""
    write(page, f"{head['supplier_name']}{country}", size=11)
    page.ln(8)
    write(page, f"Purchase order {head['number']}", size=16, style="B")
    page.ln(2)
    needed = f"\nNeeded by {head['needed_by'].isoformat()}" if head["needed_by"] else ""
    write(page, f"Date {head['day'].isoformat()}\nOur reference {head['request']}{needed}")
    page.ln(4)


def _table(page: FPDF, order: Order) -> None:
    page.set_font(SANS, "", 9)
    with page.table(
        col_widths=_COLUMNS,
        text_align=(Align.R, Align.L, Align.R, Align.L, Align.R, Align.R, Align.R),
        headings_style=FontFace(emphasis="BOLD"),
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        padding=1,
    ) as table:
        for cells in ((_HEADS), *_rows(order)):
            row = table.row()
            for cell in cells:
                row.cell(cell)


def _rows(order: Order) -> Sequence[tuple[str, ...]]:
    currency = order.head["currency"]
    return [
        (
            str(line["line"]),
            f"{line['item']}\n{line['description']}" if _has_item(line) else line["description"],
            number(line["quantity"]),
            line["unit"],
            number(line["unit_price"]),
            f"{number(line['tax_rate'] * 100)} %",
            figure(money.round_to(line["quantity"] * line["unit_price"], currency), currency),
        )
        for line in order.lines
    ]


def _has_item(line: Mapping[str, Any]) -> bool:
    return bool(line["item"]) and line["item"] != line["description"]


def _totals(page: FPDF, head: Mapping[str, Any]) -> None:
    page.ln(3)
    currency = head["currency"]
    write(page, f"Net {figure(head['net'], currency)}\nTax {figure(head['tax'], currency)}", align=Align.R)
    write(page, f"Total {figure(head['net'] + head['tax'], currency)}", size=11, style="B", align=Align.R)


def _foot(page: FPDF, company: Company, head: Mapping[str, Any]) -> None:
    page.ln(8)
    write(
        page,
        f"Please write {head['number']} on your delivery note and on your invoice; without it neither can be matched."
        f"\nQuestions: {company.email}",
        size=9,
    )
