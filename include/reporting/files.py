"""The `reporting` role: Parquet and CSV files of published editions, in a folder.

    <folder>/<report>/<period>/<first day>/<figure>.csv, <figure>.parquet, edition.json

`edition.json` is written last, and says what the files are of. Files of an interval are always the newest revision's.
Those of a preview lie below `<folder>/preview/`, where nobody takes them for the final ones.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any, Protocol

import orjson
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from include.data.exports import csv_of, export_folder, write_whole
from include.integrations.systems import Failed, Json, Operation, Outcome, PendingEffect, Sent, Settle
from include.reporting.catalogue import REPORTS
from include.reporting.editions import Edition, edition, newest_published
from include.reporting.model import Figure, Kind, typed

ABOUT = "edition.json"


class Store(Protocol):
    """Where files are kept."""

    @property
    def name(self) -> str:
        """The folder's path or address."""
        ...

    def read(self, path: str) -> bytes | None:
        """Return a file by its path below the folder; None where there is none.

        :raises OSError: when it cannot be read.
        """
        ...

    def write(self, path: str, content: bytes) -> None:
        """Write or replace a file.

        :raises OSError: when it cannot be written.
        """
        ...

    def remove(self, path: str) -> None:
        """Remove a folder with all that is in it; one that is not there is removed already.

        :raises OSError: when it cannot be removed.
        """
        ...


class Folder:
    """A folder of this machine, or one that it sees."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def name(self) -> str:
        """Its path."""
        return str(self._root)

    def read(self, path: str) -> bytes | None:
        """Return a file."""
        try:
            return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        """Replace a file, whole or not at all."""
        write_whole(self._root / path, content)

    def remove(self, path: str) -> None:
        """Remove a folder."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._root / path)


def reports_folder() -> str:
    """Return where reports go: `WAYBILL_REPORTS_FOLDER`, a path or the address of an object store.

    Otherwise it is `reports` in the folder of exports.
    """
    return os.environ.get("WAYBILL_REPORTS_FOLDER") or str(export_folder() / "reports")


class ReportFiles:
    """Writes editions as files."""

    name = "files"
    batch_size = 10
    operations: Mapping[str, Operation] = {"write_files": Operation("write_files", Settle.RESEND)}

    def __init__(self, engine: Engine, store: Store) -> None:
        self._engine = engine
        self._store = store

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:  # noqa: ARG002
        """Write the files of each edition that is still the newest of its interval."""
        outcomes: list[Outcome] = []
        for effect in effects:
            try:
                with self._engine.begin() as connection:
                    outcomes.append(self._write(connection, int(effect.payload["edition"])))
            except OSError as error:
                outcomes.append(
                    Failed(f"{self._store.name} cannot be written: {error.strerror or type(error).__name__}")
                )
            except OperationalError as error:
                outcomes.append(Failed(f"the database is away: {error.orig}"))
        return outcomes

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Never asked: the same files are written again."""
        return self.apply(operation, effects)

    def _write(self, connection: Connection, edition_id: int) -> Outcome:
        found = edition(connection, edition_id)
        if found is None:
            return Failed(f"there is no edition {edition_id}", permanent=True)
        place = found.place
        # One writer at a time, so that an older revision does not end on top of a newer one.
        connection.execute(text("select pg_advisory_xact_lock(hashtextextended(:p, 1))"), {"p": place})
        newest = newest_published(connection, found)
        if newest != found.id:
            return Sent({"superseded_by": newest, "folder": f"{self._store.name}/{place}"})
        if self._named(place) != found.id:
            self._write_revision(place, found)
        for former in range(1, found.revision):
            self._store.remove(f"{place}/{_revision(former)}")
        return Sent({"folder": f"{self._store.name}/{place}/{_revision(found.revision)}"})

    def _named(self, place: str) -> int | None:
        """The edition whose files are there, all of them; None before the first one."""
        about = self._store.read(f"{place}/{ABOUT}")
        try:
            return int(orjson.loads(about)["edition"]) if about else None
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return None  # somebody else's

    def _write_revision(self, place: str, found: Edition) -> None:
        folder = _revision(found.revision)
        files = []
        for figure in REPORTS[found.report].figures:
            rows = found.tables.get(figure.name, [])
            table = csv_of([column.name for column in figure.columns], rows).encode()
            for name, content in ((f"{figure.name}.csv", table), (f"{figure.name}.parquet", parquet(figure, rows))):
                self._store.write(f"{place}/{folder}/{name}", content)
                files.append(f"{folder}/{name}")
        about = {**_about(found), "files": files}
        self._store.write(f"{place}/{ABOUT}", orjson.dumps(about, option=orjson.OPT_INDENT_2))


def _revision(number: int) -> str:
    return f"revision-{number}"


def parquet(figure: Figure, rows: Sequence[Sequence[Any]]) -> bytes:
    """Return a figure as a Parquet file; money and quantities are exact decimals."""
    import pyarrow as pa  # type: ignore[import-untyped] # noqa: PLC0415 - heavy
    from pyarrow import parquet as pq  # noqa: PLC0415

    types = {
        Kind.TEXT: pa.string(),
        Kind.DAY: pa.date32(),
        Kind.COUNT: pa.int64(),
        Kind.MONEY: pa.decimal128(38, 2),
        Kind.QUANTITY: pa.decimal128(38, 6),
    }
    arrays = [
        pa.array([typed(column, row[place]) for row in rows], types.get(column.kind, pa.float64()))
        for place, column in enumerate(figure.columns)
    ]
    written = BytesIO()
    pq.write_table(pa.Table.from_arrays(arrays, names=[column.name for column in figure.columns]), written)
    return written.getvalue()


def _about(found: Edition) -> Json:
    return {
        "report": found.report,
        "period": found.period,
        "preview": found.preview,
        "since": found.starts_at.isoformat(),
        "until": found.ends_at.isoformat(),
        "revision": found.revision,
        "digest": found.digest,
        "edition": found.id,
    }
