"""One running Waybill whose alerts leave it, for all of these tests; each leaves it well again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.alerts import Watched, watched


@pytest.fixture(scope="package")
def watched_waybill() -> Iterator[Watched]:
    """The running Waybill."""
    with watched() as found:
        yield found


@pytest.fixture
def world(watched_waybill: Watched) -> Watched:
    """The same, with a chat that nobody has written to."""
    watched_waybill.waybill.settle()
    return watched_waybill
