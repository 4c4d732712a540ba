"""Files of rows (CSV, NDJSON, a JSON array) as deliveries, in bulk: each row is a delivery of its own.

Repeatable at any point: what is stored already is not stored again. What a row means is the mapping's part.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TextIO

import orjson
from sqlalchemy import Connection, Engine, text

from include.data.database import authored
from include.data.frames import copy_rows
from include.environment import current
from include.intake.app import FirstStage, first_stage
from include.intake.bodies import Unreadable, parse_object, split_array
from include.intake.inbox import CHANNEL
from include.intake.sources import Source, source

CHUNK = 5_000
MOST_TOLD = 100
"""Rows named one by one in a result; the rest is counted."""

Format = Literal["csv", "ndjson", "json"]


class ImportRefused(ValueError):
    """The file or text cannot be imported at all; the message says what to change."""


@dataclass
class ImportResult:
    """What came of an import.

    :param rows: rows read, blank ones not counted.
    :param new: rows that became deliveries and cases.
    :param repeated: rows that were there already, from this file or another.
    :param conflicts: rows whose id belongs to another row that is stored; not stored.
    :param unreadable: rows that are no rows; not stored.
    :param told: up to MOST_TOLD lines about conflicts and unreadable rows, without their content.
    """

    rows: int = 0
    new: int = 0
    repeated: int = 0
    conflicts: int = 0
    unreadable: int = 0
    told: list[str] = field(default_factory=list)

    def tell(self, line: int, what: str) -> None:
        """Add a line about a row, while there is room."""
        if len(self.told) < MOST_TOLD:
            self.told.append(f"line {line}: {what}")


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    key: str
    digest: bytes
    body: bytes


def import_rows(
    engine: Engine,
    source_name: str,
    path_or_text: Path | str,
    actor: str,
    *,
    progress: Callable[[ImportResult], None] | None = None,
    folder: Path | None = None,
    begins: Callable[[str], FirstStage] = first_stage,
) -> ImportResult:
    """Store every row of a file, or of pasted text, as a delivery with a pending case.

    Rows are the same when their id (the source's `id_path`) and content are, or, without an id, when their content is.

    :param path_or_text: a path, or text with at least one line break.
    :param actor: who imports: `user:<name>`.
    :param progress: called after each stored chunk with the counts so far.
    :param folder: files outside of it are refused; by default WAYBILL_IMPORT_FOLDER. With neither, files can be
        imported in the development environment only: whoever may import must not be able to read any file.
    :raises ImportRefused: when there is no such file, it is empty, or it is not text.
    :raises KeyError: when there is no such source.
    """
    declared = source(source_name)
    if declared.is_handoff:
        raise ImportRefused(f"the source {source_name} takes what other workflows hand over; choose another one")
    start = begins(declared.workflow)
    result = ImportResult()
    with _opened(path_or_text, folder) as (stream, kind):
        rows = _rows(declared, stream, kind, result)
        while chunk := list(islice(rows, CHUNK)):
            with authored(engine, actor=actor) as connection:
                _store(connection, declared, start, chunk, result)
            _ring(engine, declared.workflow)
            if progress:
                progress(result)
    return result


_STORE = """
    with delivered as (
        insert into deliveries (source, workflow, key, digest, body, content_type)
        select :source, :workflow, key, digest, body, :content_type from incoming order by key
        on conflict (source, key) do nothing
        returning id, key
    ), opened as (
        insert into cases (workflow, key, delivery_id, stage, owner)
        select :workflow, :source || '/' || key, id, :stage, :owner from delivered
        returning 1
    )
    select count(*) from opened"""

_CONFLICTS = """
    select incoming.line from incoming join deliveries d on d.source = :source and d.key = incoming.key
    where d.digest <> incoming.digest order by incoming.line"""


def _store(
    connection: Connection, declared: Source, start: FirstStage, chunk: list[_Row], result: ImportResult
) -> None:
    connection.execute(
        text("create temporary table incoming (line bigint, key text, digest bytea, body bytea) on commit drop")
    )
    rows = ((row.line, row.key, row.digest, row.body) for row in chunk)
    copy_rows(connection, "incoming", ("line", "key", "digest", "body"), rows)
    values = {
        "source": declared.name,
        "workflow": declared.workflow,
        "content_type": "application/json",
        "stage": start.stage,
        "owner": start.owner,
    }
    new = int(connection.execute(text(_STORE), values).scalar_one())
    conflicts = list(connection.execute(text(_CONFLICTS), values).scalars()) if new < len(chunk) else []
    for line in conflicts:
        result.tell(
            line,
            "its id belongs to another row that is stored already; give it a new id, or correct the case",
        )
    result.new += new
    result.conflicts += len(conflicts)
    result.repeated += len(chunk) - new - len(conflicts)


def _ring(engine: Engine, workflow: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("select pg_notify(:channel, :workflow)"), {"channel": CHANNEL, "workflow": workflow})


# -- reading


@contextmanager
def _opened(path_or_text: Path | str, folder: Path | None) -> Iterator[tuple[TextIO, Format]]:
    if isinstance(path_or_text, str) and "\n" in path_or_text:
        yield io.StringIO(path_or_text.removeprefix("\ufeff"), newline=""), _format_of(path_or_text)
        return
    path = _allowed(Path(path_or_text), folder)
    with path.open(encoding=_encoding(path), newline="") as stream:
        beginning = stream.read(4096)
        stream.seek(0)
        if not beginning.strip():
            raise ImportRefused(f"{path.name} is empty")
        suffixes: dict[str, Format] = {".csv": "csv", ".tsv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson"}
        yield stream, suffixes.get(path.suffix.lower(), _format_of(beginning))


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
    """UTF-8 where the whole file is; UTF-16 by its mark; else the Windows code page that spreadsheets write."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            return "utf-16"
        file.seek(0)
        try:
            while part := file.read(2**20):
                decoder.decode(part)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8-sig"


def _rows(declared: Source, stream: TextIO, kind: Format, result: ImportResult) -> Iterator[_Row]:
    reader = {"csv": _csv_bodies, "ndjson": _line_bodies, "json": _array_bodies}[kind]
    for line, body in reader(stream):
        result.rows += 1
        try:
            yield _row(declared, line, body)
        except Unreadable as error:
            result.unreadable += 1
            result.tell(line, error.detail)


def _row(declared: Source, line: int, body: bytes) -> _Row:
    if len(body) > declared.max_bytes:
        raise Unreadable("too_large", f"The row is larger than {declared.max_bytes} bytes.")
    document = parse_object(body)
    digest = hashlib.sha256(body).digest()
    own_id = declared.own_id(document)
    return _Row(line, f"id:{own_id}" if own_id else f"sha256:{digest.hex()}:0", digest, body)


def _line_bodies(stream: TextIO) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(stream, 1):
        if body := line.strip():
            yield number, body.encode()


def _array_bodies(stream: TextIO) -> Iterator[tuple[int, bytes]]:
    try:
        pieces = split_array(stream.read().encode())
    except Unreadable as error:
        raise ImportRefused(f"the file is not an array of objects: {error.detail}") from error
    for number, piece in enumerate(pieces, 1):
        yield number, piece.body


def _csv_bodies(stream: TextIO) -> Iterator[tuple[int, bytes]]:
    csv.field_size_limit(2**20)
    first = stream.readline()
    while first and not first.strip():
        first = stream.readline()
    delimiter = max(",;\t|", key=first.count)
    reader = csv.reader(_chained(first, stream), delimiter=delimiter)
    try:
        header = _unique(next(reader))
        for cells in reader:
            if any(cell.strip() for cell in cells):
                row: dict[str, Any] = dict(zip(header, cells, strict=False))
                if len(cells) > len(header):
                    row["_more"] = cells[len(header) :]
                yield reader.line_num, orjson.dumps(row)
    except csv.Error as error:
        raise ImportRefused(f"line {reader.line_num} is not CSV: {error}; the rows before it are stored") from error
    except StopIteration:
        raise ImportRefused("there is no header line") from None


def _chained(first: str, stream: TextIO) -> Iterator[str]:
    yield first
    yield from stream


def _unique(names: list[str]) -> list[str]:
    """Header names that can be keys: blank ones get their number, a repeated one a number too."""
    seen: dict[str, int] = {}
    unique = []
    for number, raw in enumerate(names, 1):
        name = raw.strip() or f"column_{number}"
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique
