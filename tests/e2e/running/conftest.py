"""One running Waybill for the tests that do not break it; it ends with the last of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stack import Waybill, start_waybill, stop_waybill


@pytest.fixture(scope="package")
def waybill() -> Iterator[Waybill]:
    """The running Waybill."""
    running = start_waybill(WAYBILL_PAUSE_CALENDAR="")
    yield running
    stop_waybill(running)
