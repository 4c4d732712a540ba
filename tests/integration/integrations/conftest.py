"""Fixtures of the clients of outside systems: a key, the stand-in for HubSpot, and a real Tryton."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet
from sqlalchemy import URL, Engine

from include.data.database import connect
from include.integrations.tryton import TrytonErp
from include.runtime.tryton import Tryton
from tests.standins.hubspot import HubSpot, hubspot
from tests.support.tryton import Server, make_template, serving


@pytest.fixture(autouse=True)
def secret_key(monkeypatch: pytest.MonkeyPatch) -> str:
    """A key for stored credentials."""
    key = Fernet.generate_key().decode()
    monkeypatch.setenv("WAYBILL_SECRET_KEY", key)
    return key


@pytest.fixture
def account() -> Iterator[tuple[HubSpot, str]]:
    """A HubSpot account that is set up for Waybill, and its address."""
    with hubspot() as (held, address):
        held.create_waybill_properties()
        yield held, address


@pytest.fixture(scope="session")
def books(server_url: URL, template_database: str) -> Iterator[Engine]:
    """A Waybill database for the clients of a Tryton that several modules share."""
    admin = connect(server_url).execution_options(isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"create database waybill_tryton template {template_database}")
    engine = connect(server_url.set(database="waybill_tryton"))
    yield engine
    engine.dispose()
    admin.dispose()


@pytest.fixture(scope="session")
def template(server_url: URL, books: Engine, tmp_path_factory: pytest.TempPathFactory) -> Tryton:
    return make_template(server_url, books, tmp_path_factory.mktemp("tryton-template"))


@pytest.fixture(scope="session")
def running(
    template: Tryton, server_url: URL, books: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    with serving(template, server_url, books, tmp_path_factory.mktemp("tryton")) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    if running.process is None or running.process.poll() is not None:
        running.start()
    return running


@pytest.fixture
def erp(server: Server) -> Iterator[TrytonErp]:
    provider = server.provider()
    yield provider
    provider.close()
