"""The `warehouse` role: published editions as tables of a database outside, one for each figure.

    waybill_<report>_<figure>    period, first_day, line, revision, and the figure's columns
    waybill_editions             what the rows of each interval are of

An edition replaces the rows of its interval in all tables in one transaction, unless a newer revision is there already:
so it may come again, late, and after any death. Written with SQLAlchemy's constructs alone, for databases of any kind.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Date,
    DateTime,
    Double,
    Engine,
    Float,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    delete,
    insert,
    inspect,
    select,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.schema import CreateSchema
from sqlalchemy.types import TypeEngine

from include.integrations.http import mask
from include.integrations.systems import Failed, Json, Operation, Outcome, PendingEffect, Sent, Settle
from include.reporting.catalogue import REPORTS
from include.reporting.editions import Edition, edition
from include.reporting.model import Figure, Kind, Report, typed

EDITIONS = "waybill_editions"
KEYS = ("period", "first_day", "line", "revision")
"""The columns of every figure's table, before its own."""
PATIENCE = 30
"""Seconds that one statement may take, or wait for another writer."""
LONGEST_REASON = 300

_TYPES: Mapping[Kind, tuple[Callable[[], TypeEngine[Any]], tuple[type[TypeEngine[Any]], ...]]] = {
    Kind.TEXT: (Text, (String,)),
    Kind.DAY: (Date, (Date,)),
    Kind.COUNT: (BigInteger, (Integer, Numeric)),
    Kind.MONEY: (lambda: Numeric(38, 2), (Numeric,)),
    Kind.QUANTITY: (lambda: Numeric(38, 6), (Numeric,)),
}
"""How a kind of column is created, and in what it can be kept where it is there already."""
_FRACTION = (Double, (Float, Numeric))

PERMANENT = ("0A", "22", "42")
"""Classes of SQLSTATE in which trying again cannot help: not supported, not representable, wrong or not allowed."""
RACES = ("42701", "42P06", "42P07")
"""SQLSTATEs of what another writer has just created."""


class DoesNotFit(ValueError):
    """A table of the warehouse has a column that cannot keep the figure's values."""


def warehouse_schema() -> str | None:
    """Return the schema that the tables are in: `WAYBILL_WAREHOUSE_SCHEMA`; None for the connection's own."""
    return os.environ.get("WAYBILL_WAREHOUSE_SCHEMA") or None


class Warehouse:
    """Writes editions into tables.

    :param engine: of Waybill's own database, which has the editions.
    :param target: of the warehouse; it is disposed of with this.
    """

    name = "warehouse"
    batch_size = 1  # a statement may wait
    operations: Mapping[str, Operation] = {"write_rows": Operation("write_rows", Settle.RESEND)}

    def __init__(self, engine: Engine, target: Engine, schema: str | None = None) -> None:
        self._engine = engine
        self._target = target
        self._schema = schema

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:  # noqa: ARG002
        """Replace the rows of each edition's interval."""
        return [self._deliver(int(effect.payload["edition"])) for effect in effects]

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Never asked: the same rows take the place of the same rows."""
        return self.apply(operation, effects)

    def close(self) -> None:
        """Close the connections."""
        self._target.dispose()

    @property
    def place(self) -> str:
        """Where the tables are, without any secret."""
        url = self._target.url
        return "/".join(part for part in (url.host, url.database, self._schema) if part)

    def _deliver(self, edition_id: int) -> Outcome:
        try:
            with self._engine.connect() as connection:
                found = edition(connection, edition_id)
        except OperationalError as error:
            return Failed(f"the database is away: {error.orig}")
        if found is None:
            return Failed(f"there is no edition {edition_id}", permanent=True)
        try:
            with self._target.begin() as connection:
                newer = self._replace(connection, found)
        except DoesNotFit as error:
            return Failed(str(error), permanent=True)
        except SQLAlchemyError as error:
            return _failed(error)
        answer: Json = {"place": f"{self.place}: waybill_{found.report}_*"}
        return Sent(answer if newer is None else {**answer, "superseded_by_revision": newer})

    def _replace(self, connection: Connection, found: Edition) -> int | None:
        """Write an edition; returns the revision that is there where that is a newer one."""
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"set local statement_timeout = '{PATIENCE}s'"))
        report = REPORTS[found.report]
        about, figures = tables(report, self._schema)
        if self._schema and self._schema not in inspect(connection).get_schema_names():
            connection.execute(CreateSchema(self._schema))
        for table in (about, *figures.values()):
            _ensure(connection, table)
        newer = _claim(connection, about, found)
        if newer is not None:
            return newer
        for figure in report.figures:
            table = figures[figure.name]
            connection.execute(
                delete(table).where(table.c.period == str(found.period), table.c.first_day == found.first_day)
            )
            if rows := list(_rows(figure, found)):
                connection.execute(insert(table), rows)
        return None


def tables(report: Report, schema: str | None = None) -> tuple[Table, dict[str, Table]]:
    """Return the table of editions, and the table of each figure by its name."""
    metadata = MetaData(schema=schema)
    about = Table(
        EDITIONS,
        metadata,
        Column("report", String(50), primary_key=True),
        Column("period", String(10), primary_key=True),
        Column("first_day", Date, primary_key=True),
        Column("revision", Integer, nullable=False),
        Column("since", DateTime(timezone=True), nullable=False),
        Column("until", DateTime(timezone=True), nullable=False),
        Column("made_at", DateTime(timezone=True), nullable=False),
        Column("digest", String(64), nullable=False),
    )
    return about, {figure.name: _table(metadata, report, figure) for figure in report.figures}


def _table(metadata: MetaData, report: Report, figure: Figure) -> Table:
    """A column that a figure no longer has stays in its table, so none of its own may be required."""
    return Table(
        f"waybill_{report.name}_{figure.name}",
        metadata,
        Column("period", String(10), primary_key=True),
        Column("first_day", Date, primary_key=True),
        Column("line", Integer, primary_key=True, autoincrement=False),
        Column("revision", Integer, nullable=False),
        *(Column(each.name, _TYPES.get(each.kind, _FRACTION)[0](), info={"kind": each.kind})
          for each in figure.columns),
    )  # fmt: skip


def _ensure(connection: Connection, table: Table) -> None:
    """Create a table, or the columns that it lacks.

    :raises DoesNotFit: when a column is there and cannot keep its values.
    """
    inspector = inspect(connection)
    if not inspector.has_table(table.name, schema=table.schema):
        table.create(connection)
        return
    there = {each["name"]: each["type"] for each in inspector.get_columns(table.name, schema=table.schema)}
    change = Operations(MigrationContext.configure(connection))
    for column in table.columns:
        if column.name not in there:
            change.add_column(table.name, Column(column.name, column.type), schema=table.schema)
        elif (kind := column.info.get("kind")) and not isinstance(there[column.name], _TYPES.get(kind, _FRACTION)[1]):
            raise DoesNotFit(
                f"the column {column.name} of {table.fullname} is {there[column.name]} and cannot hold {column.type}: "
                "rename the table, retry this, and run the past intervals again"
            )


def _claim(connection: Connection, about: Table, found: Edition) -> int | None:
    """Take the interval's row, so that one writer at a time has it, unless a newer revision is there.

    :returns: that revision.
    """
    values = {
        "revision": found.revision,
        "since": found.starts_at,
        "until": found.ends_at,
        "made_at": found.written_at,
        "digest": found.digest,
    }
    identity = {"report": found.report, "period": str(found.period), "first_day": found.first_day}
    same = [about.c[name] == value for name, value in identity.items()]
    there = connection.execute(select(about.c.revision).where(*same).with_for_update()).scalar_one_or_none()
    if there is None:
        connection.execute(insert(about).values(**identity, **values))
    elif there > found.revision:
        return int(there)
    else:
        connection.execute(update(about).where(*same).values(**values))
    return None


def _rows(figure: Figure, found: Edition) -> Iterator[Json]:
    for line, row in enumerate(found.tables.get(figure.name, []), 1):
        yield {
            "period": str(found.period),
            "first_day": found.first_day,
            "line": line,
            "revision": found.revision,
            **{column.name: typed(column, value) for column, value in zip(figure.columns, row, strict=True)},
        }


def _failed(error: SQLAlchemyError) -> Failed:
    """Say what a database said, in its first line; the rest may hold the statement with its values."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    lines = str(cause).strip().splitlines()
    reason = mask(lines[0] if lines else type(cause).__name__, longest=LONGEST_REASON)
    state = str(getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or "")
    permanent = state.startswith(PERMANENT) and state not in RACES
    return Failed(f"the warehouse: {reason}", permanent=permanent)
