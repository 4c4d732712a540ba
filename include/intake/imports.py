"""Files of rows as deliveries, in bulk: each row one of its own, or the rows of a document (an invoice) one together.

Repeatable at any point: what is stored already is not stored again. Reading files is files.py's part, what a row means
the mapping's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, text

from include.data.database import sign
from include.data.frames import copy_rows
from include.intake.alike import say_the_same
from include.intake.app import FirstStage, first_stage
from include.intake.bodies import Unreadable, parse_object
from include.intake.files import ImportRefused, Rows, opened
from include.intake.grouping import Groups
from include.intake.inbox import CHANNEL
from include.intake.sources import Source, source

CHUNK = 5_000
AT_ONCE = 100
"""Documents that are held against what is stored at a time."""
MOST_TOLD = 100
"""Rows named one by one in a result; the rest is counted."""


@dataclass
class ImportResult:
    """What came of an import.

    :param rows: rows read, blank ones not counted.
    :param new: deliveries, and cases, that the rows became.
    :param repeated: those that were there already, from this file or another.
    :param conflicts: those whose id belongs to another one that is stored; not stored.
    :param unreadable: rows that are no rows; not stored.
    :param groups: deliveries that the rows make together; 0 where each row is one of its own.
    :param told: up to MOST_TOLD lines about conflicts and unreadable rows, without their content.
    """

    rows: int = 0
    new: int = 0
    repeated: int = 0
    conflicts: int = 0
    unreadable: int = 0
    groups: int = 0
    told: list[str] = field(default_factory=list)

    def tell(self, line: int, what: str) -> None:
        """Add a line about a row, while there is room."""
        if len(self.told) < MOST_TOLD:
            self.told.append(f"line {line}: {what}")


Tell = Callable[[ImportResult], None]


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
    progress: Tell | None = None,
    folder: Path | None = None,
    begins: Callable[[str], FirstStage] = first_stage,
) -> ImportResult:
    """Store every row of a file, or of pasted text, as a delivery with a pending case.

    Rows are the same when their id (the source's `id_path`) and content are, or, without an id, when their content is.
    Under an id, content is what the mapping reads: it may come as a CSV first and as a spreadsheet later.
    Where the source groups rows, the rows with one value in its column are one delivery, known by that value.

    :param path_or_text: a path, or text with at least one line break.
    :param actor: who imports: `user:<name>`.
    :param progress: called after each chunk with the counts so far.
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
    tell = progress or (lambda _: None)
    with opened(path_or_text, folder) as lines, _own_connection(engine) as connection:
        rows = _rows(declared, lines, result)
        if declared.group:
            chunks = _chunks_of_groups(connection, declared, rows, result, tell)
        else:
            chunks = _chunks_of_rows(connection, rows)
        for lay_out in chunks:
            with connection.begin():
                sign(connection, actor=actor)
                _store(connection, declared, start, lay_out(), result)
            _ring(engine, declared.workflow)
            tell(result)
    return result


def keys_of(source_name: str, path_or_text: Path | str, *, folder: Path | None = None) -> set[str]:
    """Return the keys of the deliveries that a file or text is, stored or not; what is no row has none.

    :raises ImportRefused: as `import_rows`.
    """
    declared = source(source_name)
    with opened(path_or_text, folder) as lines:
        return {row.key for row in _rows(declared, lines, ImportResult())}


@contextmanager
def _own_connection(engine: Engine) -> Iterator[Connection]:
    """A connection that is closed at the end, and not given back: with it go its temporary tables."""
    with engine.connect() as connection:
        try:
            yield connection
        finally:
            connection.invalidate()


Chunk = Callable[[], int]
"""Lays a chunk of deliveries into the table `incoming`, and returns how many they are."""


def _chunks_of_rows(connection: Connection, rows: Iterator[_Row]) -> Iterator[Chunk]:
    def lay_out() -> int:
        connection.execute(
            text("create temporary table incoming (line bigint, key text, digest bytea, body bytea) on commit drop")
        )
        columns = ("line", "key", "digest", "body")
        return copy_rows(connection, "incoming", columns, ((row.line, row.key, row.digest, row.body) for row in chunk))

    while chunk := list(islice(rows, CHUNK)):
        yield lay_out


def _chunks_of_groups(
    connection: Connection, declared: Source, rows: Iterator[_Row], result: ImportResult, tell: Tell
) -> Iterator[Chunk]:
    groups = Groups(connection, declared.group[0])
    while groups.add((row.line, row.key, row.body) for row in islice(rows, CHUNK)):
        tell(result)
    result.groups, too_large = groups.close(declared.max_bytes)
    for line, count in too_large:
        result.unreadable += count
        result.tell(line, f"its {count} rows together are larger than {declared.max_bytes} bytes; split the document")
    for first, last in groups.chunks(CHUNK):
        yield partial(groups.pick, first, last)


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
    select incoming.line, incoming.body as sent, d.body as stored
    from incoming join deliveries d on d.source = :source and d.key = incoming.key
    where d.digest <> incoming.digest order by incoming.line"""


def _store(connection: Connection, declared: Source, start: FirstStage, size: int, result: ImportResult) -> None:
    values = {
        "source": declared.name,
        "workflow": declared.workflow,
        "content_type": "application/json",
        "stage": start.stage,
        "owner": start.owner,
    }
    new = int(connection.execute(text(_STORE), values).scalar_one())
    conflicts = _conflicts(connection, declared, values) if new < size else []
    what = "document" if declared.group else "row"
    for line in conflicts:
        result.tell(
            line,
            f"its id belongs to another {what} that is stored already; give it a new id, or correct the case",
        )
    result.new += new
    result.conflicts += len(conflicts)
    result.repeated += size - new - len(conflicts)


def _conflicts(connection: Connection, declared: Source, values: Mapping[str, Any]) -> list[int]:
    """Return the lines of what says something else than what is stored under its id, whatever the files' formats."""
    differing = connection.execute(text(_CONFLICTS), values, execution_options={"yield_per": AT_ONCE})
    return [row.line for row in differing if not say_the_same(declared, row.stored, row.sent)]


def _ring(engine: Engine, workflow: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("select pg_notify(:channel, :workflow)"), {"channel": CHANNEL, "workflow": workflow})


def _rows(declared: Source, lines: Rows, result: ImportResult) -> Iterator[_Row]:
    for line, body in lines:
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
    if declared.group and not document:
        raise Unreadable("empty", "The row holds nothing.")
    own_id = declared.group_of(document) if declared.group else declared.own_id(document)
    digest = hashlib.sha256(body).digest()
    return _Row(line, f"id:{own_id}" if own_id else f"sha256:{digest.hex()}:0", digest, body)
