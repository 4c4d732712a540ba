"""Reads files of rows, and pasted rows: CSV, NDJSON, a JSON array, spreadsheets. Each row comes as one JSON object.

Whatever the format, a row comes with the number of its line; what rows mean, and storing them, is for others.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, TextIO

import orjson
from python_calamine import CalamineError, CalamineWorkbook

from include.environment import current
from include.intake.bodies import Unreadable, split_array

Rows = Iterator[tuple[int, bytes]]
"""The number of a line, counted from 1, and its row as a JSON object."""

Format = Literal["csv", "ndjson", "json"]
SPREADSHEETS = frozenset({".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"})
SHEET = "_sheet"
"""In rows of a spreadsheet with several sheets: the sheet's name."""
LINE_LIMIT = 2**20  # characters of one CSV field


class ImportRefused(ValueError):
    """The file or text cannot be imported at all; the message says what to change."""


@contextmanager
def opened(path_or_text: Path | str, folder: Path | None) -> Iterator[Rows]:
    """Open a file, or text with at least one line break, as rows.

    :param folder: as for `include.intake.imports.import_rows`.
    :raises ImportRefused: here or while rows are read.
    """
    if isinstance(path_or_text, str) and "\n" in path_or_text:
        yield _rows(io.StringIO(path_or_text.removeprefix("\ufeff"), newline=""), _format_of(path_or_text))
        return
    path = _allowed(Path(path_or_text), folder)
    if path.suffix.lower() in SPREADSHEETS:
        yield _spreadsheet_rows(path)
        return
    with path.open(encoding=_encoding(path), newline="") as stream:
        beginning = stream.read(4096)
        stream.seek(0)
        if not beginning.strip():
            raise ImportRefused(f"{path.name} is empty")
        suffixes: dict[str, Format] = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
        yield _rows(stream, suffixes.get(path.suffix.lower(), _format_of(beginning)))


def _allowed(path: Path, folder: Path | None) -> Path:
    """The file, once it is known that whoever may import may also read it."""
    named = os.environ.get("WAYBILL_IMPORT_FOLDER")
    allowed = folder or (Path(named) if named else None)
    if allowed is None and not current().is_development:
        raise ImportRefused("set WAYBILL_IMPORT_FOLDER to the folder from which files may be imported")
    resolved = (allowed / path if allowed else path).resolve()
    if allowed and not resolved.is_relative_to(allowed.resolve()):
        raise ImportRefused(f"{path} is outside the folder for imports, {allowed}: put the file there")
    if not resolved.is_file():
        raise ImportRefused(
            f"there is no file {path}; give the path of one, or paste rows with a line break after the header"
        )
    return resolved


def _format_of(beginning: str) -> Format:
    first = beginning.lstrip("\ufeff \t\r\n")[:1]
    return {"{": "ndjson", "[": "json"}.get(first, "csv")  # type: ignore[return-value]


def _encoding(path: Path) -> str:
    """UTF-8 where the whole file is; UTF-16 by its mark; else the Windows code page that spreadsheets write.

    What that page leaves undefined (0x81 and four more) is read as Latin-1 has it, so that every byte is something.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    undefined = False
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        file.seek(0)
        try:
            while part := file.read(2**20):
                decoder.decode(part)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            file.seek(0)
            while part := file.read(2**20):
                undefined = undefined or len(part.translate(None, _NOT_IN_CP1252)) < len(part)
            return "latin-1" if undefined else "cp1252"
    return "utf-8-sig"


_NOT_IN_CP1252 = bytes((0x81, 0x8D, 0x8F, 0x90, 0x9D))


def _rows(stream: TextIO, kind: Format) -> Rows:
    return {"csv": _csv_rows, "ndjson": _ndjson_rows, "json": _array_rows}[kind](stream)


def _ndjson_rows(stream: TextIO) -> Rows:
    for number, line in enumerate(stream, 1):
        if body := line.strip():
            yield number, body.encode()


def _array_rows(stream: TextIO) -> Rows:
    try:
        pieces = split_array(stream.read().encode())
    except Unreadable as error:
        raise ImportRefused(f"the file is not an array of objects: {error.detail}") from error
    for number, piece in enumerate(pieces, 1):
        yield number, piece.body


def _csv_rows(stream: TextIO) -> Rows:
    csv.field_size_limit(LINE_LIMIT)
    skipped, first = 0, stream.readline()
    while first and not first.strip():
        skipped, first = skipped + 1, stream.readline()
    delimiter = max(",;\t|", key=first.count)
    reader = csv.reader(_chained(first, stream), delimiter=delimiter)
    try:
        header = unique(next(reader))
        for cells in reader:
            if any(cells) and any(cell.strip() for cell in cells):
                yield skipped + reader.line_num, orjson.dumps(_row(header, cells))
    except csv.Error as error:
        raise ImportRefused(
            f"line {skipped + reader.line_num} is not CSV: {error}; correct it and import the file again"
        ) from error
    except StopIteration:
        raise ImportRefused("there is no header line") from None


def _chained(first: str, stream: TextIO) -> Iterator[str]:
    yield first
    yield from stream


def _spreadsheet_rows(path: Path) -> Rows:
    """Rows of every sheet, each cell as the text that a CSV of it would have; lines count on from sheet to sheet.

    The first row of a sheet that holds something is its header.
    """
    try:
        workbook = CalamineWorkbook.from_path(str(path))
        names = workbook.sheet_names
        before = 0
        for name in names:
            sheet = workbook.get_sheet_by_name(name)
            header: list[str] | None = None
            number = before
            for values in sheet.iter_rows():
                number += 1
                cells = [_cell(value) for value in values]
                if not any(cells):
                    continue
                if header is None:
                    header = unique(cells)
                    continue
                row = _row(header, cells)
                if len(names) > 1:
                    row[SHEET] = name
                yield number, orjson.dumps(row)
            before = number
    except CalamineError as error:
        raise ImportRefused(f"{path.name} cannot be read as a spreadsheet: {error}; save it as CSV") from error
    if not before:
        raise ImportRefused(f"{path.name} is empty")


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)


def _row(header: list[str], cells: list[str]) -> dict[str, Any]:
    row: dict[str, Any] = dict(zip(header, cells, strict=False))
    if len(cells) > len(header):
        row["_more"] = cells[len(header) :]
    return row


def unique(names: list[str]) -> list[str]:
    """Header names that can be keys: blank ones get their number, a repeated one a number too."""
    seen: dict[str, int] = {}
    different = []
    for number, raw in enumerate(names, 1):
        name = raw.strip() or f"column_{number}"
        seen[name] = seen.get(name, 0) + 1
        different.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return different
