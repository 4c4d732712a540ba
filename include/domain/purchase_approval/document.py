"""A purchase order as PDF: the same order gives the same bytes, and every name in it can be read.

The letters are Noto Sans (Latin, Greek, Cyrillic), and FiraGO where that has none (Arabic, Hebrew, Thai, Georgian).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pymupdf_fonts
from fpdf import FPDF, XPos, YPos
from fpdf.enums import Align, TableBordersLayout
from fpdf.fonts import FontFace
from platformdirs import user_cache_path

from include.data import money
from include.domain.purchase_approval.content import figure, number
from include.domain.purchase_approval.orders import Order
from include.domain.purchasing import Company, purchasing

SANS = "noto"
FALLBACK = "firago"
_FONTS = {(SANS, ""): "notos", (SANS, "B"): "notosbo", (FALLBACK, ""): "figo", (FALLBACK, "B"): "figbo"}
_COLUMNS = (9, 76, 20, 18, 27, 15, 30)  # share of the width
_HEADS = ("", "Description", "Quantity", "Unit", "Price", "Tax", "Amount")


@cache
def _files() -> Mapping[tuple[str, str], Path]:
    """The fonts as files, which is how the library takes them; written once per machine, whole or not at all."""
    folder = user_cache_path("waybill") / f"fonts-{version('pymupdf-fonts')}"
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for key, name in _FONTS.items():
        files[key] = folder / f"{name}.ttf"
        if not files[key].exists():
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as unfinished:
                unfinished.write(pymupdf_fonts.fontbuffers[name]())
            Path(unfinished.name).replace(files[key])
    return files


def preload() -> None:
    """Unpack the fonts, in the process whose children write orders."""
    _files()


def pdf(order: Order) -> bytes:
    """Return the order as a PDF document."""
    head, company = order.head, purchasing().company
    page = FPDF(format="A4")
    # Its clock is the order's, so that a mail that is planned again has the very same attachment.
    page.set_creation_date(datetime.combine(head["day"], time(), UTC))
    page.set_title(f"Purchase order {head['number']}")
    page.set_author(company.name)
    page.set_lang("en")
    for (family, style), path in _files().items():
        page.add_font(family, style, path)
    page.set_fallback_fonts([FALLBACK], exact_match=False)
    page.set_auto_page_break(True, margin=20)
    page.add_page()
    _letterhead(page, company, head)
    _table(page, order)
    _totals(page, head)
    _foot(page, company, head)
    return bytes(page.output())


def _text(page: FPDF, content: str, *, size: float = 10, style: str = "", align: Align = Align.L) -> None:
    page.set_font(SANS, style, size)
    page.multi_cell(0, None, content, align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _letterhead(page: FPDF, company: Company, head: Mapping[str, Any]) -> None:
    _text(page, f"{company.name}\n{company.address}\nVAT {company.vat_id}", size=9)
    page.ln(8)
    country = f"\n{head['supplier_country']}" if head["supplier_country"] else ""
    _text(page, f"{head['supplier_name']}{country}", size=11)
    page.ln(8)
    _text(page, f"Purchase order {head['number']}", size=16, style="B")
    page.ln(2)
    needed = f"\nNeeded by {head['needed_by'].isoformat()}" if head["needed_by"] else ""
    _text(page, f"Date {head['day'].isoformat()}\nOur reference {head['request']}{needed}")
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
    _text(page, f"Net {figure(head['net'], currency)}\nTax {figure(head['tax'], currency)}", align=Align.R)
    _text(page, f"Total {figure(head['net'] + head['tax'], currency)}", size=11, style="B", align=Align.R)


def _foot(page: FPDF, company: Company, head: Mapping[str, Any]) -> None:
    page.ln(8)
    _text(
        page,
        f"Please write {head['number']} on your delivery note and on your invoice; without it neither can be matched."
        f"\nQuestions: {company.email}",
        size=9,
    )
