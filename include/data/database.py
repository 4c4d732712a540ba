"""The one way to Waybill's database: engine, authored transactions, migrations.

Knows nothing of the tables' meaning; the SQL lives with the module that needs it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import orjson
import psycopg
from alembic import command
from alembic.config import Config
from psycopg.types.json import set_json_dumps, set_json_loads
from sqlalchemy import URL, Connection, Engine, create_engine, make_url, text
from sqlalchemy.exc import DBAPIError

SCHEMA = "waybill"
set_json_dumps(partial(orjson.dumps, default=str))
set_json_loads(orjson.loads)
OLDEST_SERVER = 18  # `uuidv7()` came with PostgreSQL 18
MIGRATIONS = Path(__file__).parent / "migrations"


class DatabaseMissing(RuntimeError):
    """No database is configured in this process."""


class DatabaseTooOld(RuntimeError):
    """The server is older than Waybill can run on."""


def database_url() -> URL:
    """Return the address of Waybill's database, with the driver of the tasks.

    :raises DatabaseMissing: when `WAYBILL_DATABASE_URL` is not set.
    """
    raw = os.environ.get("WAYBILL_DATABASE_URL")
    if not raw:
        raise DatabaseMissing("WAYBILL_DATABASE_URL is not set: `make up` sets it to the embedded server's address")
    return make_url(raw).set(drivername="postgresql+psycopg")


def asyncpg_dsn(url: URL | None = None) -> str:
    """Return the same address in the form that asyncpg reads."""
    return (url or database_url()).set(drivername="postgresql").render_as_string(hide_password=False)


def connect(url: URL | str, *, pool_size: int = 5) -> Engine:
    """Return an engine on `url` whose connections find Waybill's schema."""
    return create_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        pool_pre_ping=True,
        connect_args={
            "options": f"-csearch_path={SCHEMA},public",
            "connect_timeout": 5,
            "application_name": "waybill",
        },
    )


@cache
def engine() -> Engine:
    """Return this process's engine; a forked child starts with an empty pool."""
    shared = connect(database_url())
    os.register_at_fork(after_in_child=lambda: shared.dispose(close=False))
    return shared


@contextmanager
def authored(target: Engine, *, actor: str, run: str = "", step: str = "") -> Iterator[Connection]:
    """Open a transaction whose changes to cases carry an author.

    The database writes an event for every change of a case, and refuses a change without an author.

    :param actor: who acts: `user:<name>`, or `system:<part>`.
    :param run: the Airflow run, where there is one.
    :param step: the contract's step, where there is one.
    """
    with target.begin() as connection:
        sign(connection, actor=actor, run=run, step=step)
        yield connection


def sign(connection: Connection, *, actor: str, run: str = "", step: str = "") -> None:
    """Name the author of everything that the current transaction still changes."""
    with driver(connection) as direct:
        direct.execute(_SIGN, (actor, run, step))


_SIGN = """
    select set_config('waybill.actor', %s, true), set_config('waybill.run', %s, true),
           set_config('waybill.step', %s, true)"""


@contextmanager
def driver(connection: Connection) -> Iterator[psycopg.Connection[Any]]:
    """Yield psycopg's own connection, in the transaction that was begun: for COPY, and for what every posting does.

    A statement takes half as long by itself as through SQLAlchemy. Errors are SQLAlchemy's all the same.

    :raises RuntimeError: when the connection was given back.
    """
    direct = connection.connection.driver_connection
    if direct is None:
        raise RuntimeError("the connection is closed")
    try:
        yield direct
    except psycopg.Error as error:
        raise DBAPIError.instance(None, None, error, psycopg.Error) from error


def _configured(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def migrate(url: URL | str | None = None, revision: str = "head") -> None:
    """Bring the schema to `revision`, forward; two callers at once wait for each other.

    :raises DatabaseTooOld: when the server is older than PostgreSQL 18.
    """
    _with_lock(url, lambda config: command.upgrade(config, revision))


def migrate_back(url: URL | str | None, revision: str) -> None:
    """Bring the schema back to `revision` (`base` for none)."""
    _with_lock(url, lambda config: command.downgrade(config, revision))


def _with_lock(url: URL | str | None, action: Callable[[Config], None]) -> None:
    target = connect(url or database_url(), pool_size=1)
    try:
        with target.begin() as connection:
            major = int(connection.execute(text("show server_version_num")).scalar_one()) // 10000
            if major < OLDEST_SERVER:
                raise DatabaseTooOld(f"PostgreSQL {major} found, {OLDEST_SERVER} or newer needed")
            connection.execute(text("select pg_advisory_xact_lock(hashtext('waybill.migrations'))"))
            connection.execute(text(f"create schema if not exists {SCHEMA}"))
            action(_configured(connection))
    finally:
        target.dispose()
