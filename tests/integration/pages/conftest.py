"""The ops pages on a fresh database, asked for as a browser does, and in a real one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser
from sqlalchemy import Engine

from tests.standins.airflow import Airflow, airflow_standin
from tests.standins.serving import served
from tests.support.browser import Seat, browsing
from tests.support.pages import pages_of


@pytest.fixture
def log_in(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Call it with a role of Airflow's, with the empty one for an account without any, or None for a stranger."""
    with pages_of(engine, monkeypatch) as log_in:
        yield log_in


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Airflow]:
    """The Airflow around the pages; without it, none answers them."""
    with airflow_standin() as airflow:
        monkeypatch.setenv("WAYBILL_BASE_URL", airflow.url)
        yield airflow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser."""
    with browsing() as browser:
        yield browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where the pages are served as Airflow's API server serves them, once `log_in` has set the roles."""
    from waybill.pages.app import app

    outside = FastAPI()
    outside.mount("/waybill", app)
    with served(outside) as address:
        yield address


@pytest.fixture
def sit_down(log_in: Any, browser: Browser, address: str) -> Iterator[Any]:
    """Call it with a role and a name to have somebody sit down at a browser of their own."""
    assert log_in
    seats: list[Seat] = []

    def sit_down(role: str = "op", name: str = "olga", **look: Any) -> Seat:
        seats.append(Seat(browser, address, f"{name}:{role}", **look))
        return seats[-1]

    yield sit_down
    for seat in seats:
        seat.leave()
