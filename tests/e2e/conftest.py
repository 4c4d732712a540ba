"""A running Waybill for the end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stack import Waybill, start_waybill, stop_waybill


@pytest.fixture(scope="session")
def waybill() -> Iterator[Waybill]:
    """One running Waybill for the tests that do not break it."""
    running = start_waybill()
    yield running
    stop_waybill(running)
