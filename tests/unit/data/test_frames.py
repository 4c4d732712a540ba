"""Values on their way into the database in bulk."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from include.data.frames import array_of


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([], "{}"),
        (["A", None, "", "null"], '{"A",null,"","null"}'),
        (['say "so"', "a\\b", "{1,2}", "Ø, ü"], '{"say \\"so\\"","a\\\\b","{1,2}","Ø, ü"}'),
        ([Decimal("1.50"), 3, None], "{1.50,3,null}"),
        ([datetime(2026, 1, 2, 3, 4, tzinfo=UTC)], "{2026-01-02 03:04:00+00:00}"),
    ],
)
def test_an_array_is_written_as_postgresql_reads_it(values: list[object], written: str) -> None:
    assert array_of(values) == written
