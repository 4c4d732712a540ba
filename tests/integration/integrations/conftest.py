"""Fixtures of the clients of outside systems: a key, and the stand-in for HubSpot."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet

from tests.standins.hubspot import HubSpot, hubspot


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
