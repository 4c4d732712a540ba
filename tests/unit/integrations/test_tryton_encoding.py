"""Numbers and dates reach Tryton, and come back, without a float between."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest

from include.integrations.tryton.encoding import decode, encode


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("10.10"), {"__class__": "Decimal", "decimal": "10.10"}),
        (dt.date(2026, 11, 3), {"__class__": "date", "year": 2026, "month": 11, "day": 3}),
        ([("add", [1])], [["add", [1]]]),
        ({"a": [Decimal(1)]}, {"a": [{"__class__": "Decimal", "decimal": "1"}]}),
        (None, None),
        (2.5, 2.5),
    ],
)
def test_what_goes_out_is_as_tryton_writes_it(value: Any, written: Any) -> None:
    assert encode(value) == written


@pytest.mark.parametrize("value", [Decimal("0.0001"), dt.date(2024, 2, 29), {"a": [Decimal("1.10"), None, "x"]}, []])
def test_what_goes_out_comes_back(value: Any) -> None:
    assert decode(encode(value)) == value
    assert str(decode(encode(value))) == str(value)


def test_moments_spans_and_bytes_are_read() -> None:
    moment = {"year": 2026, "month": 1, "day": 2, "hour": 3, "minute": 4, "second": 5, "microsecond": 6}
    assert decode({"__class__": "datetime", **moment}) == dt.datetime(2026, 1, 2, 3, 4, 5, 6)
    assert decode({"__class__": "timedelta", "seconds": 90}) == dt.timedelta(seconds=90)
    assert decode({"__class__": "bytes", "base64": "w6Q="}) == "ä".encode()
    assert decode({"__class__": "something else", "x": 1}) == {"__class__": "something else", "x": 1}
