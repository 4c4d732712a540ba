"""PDF documents whose every name can be read: the same content gives the same bytes.

The letters are Noto Sans (Latin, Greek, Cyrillic), and FiraGO where that has none (Arabic, Hebrew, Thai, Georgian).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path

import pymupdf_fonts
from fpdf import FPDF, XPos, YPos
from fpdf.enums import Align
from platformdirs import user_cache_path

SANS = "noto"
FALLBACK = "firago"
_FONTS = {(SANS, ""): "notos", (SANS, "B"): "notosbo", (FALLBACK, ""): "figo", (FALLBACK, "B"): "figbo"}


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
    """Unpack the fonts, in the process whose children write documents."""
    _files()


def document(title: str, author: str, at: datetime, *, landscape: bool = False) -> FPDF:
    """Return an empty document with its first page.

    :param at: its clock, so that the same document made again has the very same bytes.
    """
    page = FPDF(orientation="landscape" if landscape else "portrait", format="A4")
    page.set_creation_date(at)
    page.set_title(title)
    page.set_author(author)
    page.set_lang("en")
    for (family, style), path in _files().items():
        page.add_font(family, style, path)
    page.set_fallback_fonts([FALLBACK], exact_match=False)
    page.set_auto_page_break(True, margin=20)
    page.add_page()
    return page


def write(page: FPDF, content: str, *, size: float = 10, style: str = "", align: Align = Align.L) -> None:
    """Write text over the whole width."""
    page.set_font(SANS, style, size)
    page.multi_cell(0, None, content, align=align, new_x=XPos.LMARGIN, new_y=YPos.NEXT)
