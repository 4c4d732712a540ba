"""The ECB's file is read as it is published; anything else in its place is refused."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.data.rates import Published, RatesUnreadable, read_ecb
from tests.standins.ecb import envelope


def test_every_rate_of_every_day_is_read_without_losing_a_digit() -> None:
    content = envelope({"2026-11-20": {"USD": "1.1571", "JPY": "180.20"}, "2026-11-19": {"USD": "1.1560"}})
    assert read_ecb(content) == [
        Published(date(2026, 11, 20), "EUR", "USD", Decimal("1.1571")),
        Published(date(2026, 11, 20), "EUR", "JPY", Decimal("180.20")),
        Published(date(2026, 11, 19), "EUR", "USD", Decimal("1.1560")),
    ]


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><x>&b;</x>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x>&a;</x>"""


@pytest.mark.parametrize(
    "content",
    [
        b"", b"<html><body>Sign in</body></html>", b"not xml", BOMB, OUTSIDE, envelope({}),
        envelope({"2026-11-20": {"USD": "1.1"}})[:-40],
        envelope({"2026-11-20": {"USD": "N/A"}}), envelope({"2026-11-20": {"USD": "0"}}),
        envelope({"2026-11-20": {"USD": "-1"}}), envelope({"2026-11-20": {"USD": "1,1"}}),
        envelope({"2026-11-20": {"usd": "1.1"}}), envelope({"2026-11-20": {"EUR": "1"}}),
        envelope({"20.11.2026": {"USD": "1.1"}}), envelope({"2026-11-20": {"USD": "1e12"}}),
        envelope({"2026-11-20": {"USD": "1.1"}}).replace(
            b"</Cube></Cube>", b'<Cube currency="USD" rate="2"/></Cube></Cube>'
        ),
        b"<?xml version='1.0' encoding='no-such'?><x/>",
    ],
)  # fmt: skip
def test_what_is_not_the_published_file_is_refused(content: bytes) -> None:
    with pytest.raises(RatesUnreadable):
        read_ecb(content)


@given(st.binary())
def test_no_content_crashes_the_reader(content: bytes) -> None:
    with pytest.raises(RatesUnreadable):
        read_ecb(content)
