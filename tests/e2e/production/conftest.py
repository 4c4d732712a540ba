"""One running production, for all of these tests; each leaves it well again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.production import Production, production


@pytest.fixture(scope="package")
def production_waybill() -> Iterator[Production]:
    """The running Waybill."""
    with production() as found:
        yield found


@pytest.fixture
def world(production_waybill: Production) -> Production:
    """The same, with a chat that nobody has written to."""
    production_waybill.waybill.settle()
    return production_waybill
