"""The ops pages on a fresh database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support.pages import pages_of


@pytest.fixture
def log_in(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Call it with a role of Airflow's, or None for a stranger."""
    with pages_of(engine, monkeypatch) as log_in:
        yield log_in
