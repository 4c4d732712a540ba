"""An invoice adds up, or says where it does not; each line may be rounded in its own way."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.cases.model import Reason
from include.domain.supplier_invoice.totals import Claimed, Line, Totals, add_up

D = Decimal
NOTHING = Claimed(None, None, None)


def line(quantity: str = "3", price: str = "3.33", rate: str = "0.19") -> Line:
    return Line(1, None, None, D(quantity), D(price), D(rate))


def claimed(net: str | None = None, tax: str | None = None, gross: str | None = None) -> Claimed:
    return Claimed(*(D(value) if value is not None else None for value in (net, tax, gross)))


def good(*lines: Line, said: Claimed = NOTHING, currency: str = "EUR") -> Totals:
    found = add_up(lines, said, currency)
    assert isinstance(found, Totals), found
    return found


def test_totals_follow_from_the_lines() -> None:
    found = good(line(), line())
    assert (found.net, found.tax, found.gross) == (D("19.98"), D("3.80"), D("23.78"))


def test_what_the_head_says_is_paid_and_the_largest_line_takes_the_difference() -> None:
    found = good(line(), line("10", "3.33"), said=claimed("43.30", "8.23", "51.53"))
    assert (found.net, found.tax) == (D("43.30"), D("8.23"))
    assert [each.net for each in found.lines] == [D("9.99"), D("33.31")]
    assert sum(each.tax for each in found.lines) == D("8.23")


@pytest.mark.parametrize("said", [claimed(gross="23.78"), claimed(net="19.98"), claimed(tax="3.80", gross="23.78")])
def test_what_the_head_leaves_out_follows(said: Claimed) -> None:
    found = good(line(), line(), said=said)
    assert (found.net, found.tax) == (D("19.98"), D("3.80"))


@pytest.mark.parametrize(
    ("said", "code"),
    [
        (claimed("19.98", "3.80", "23.79"), "invoice.totals"),
        (claimed("20.01", "3.80", "23.81"), "invoice.lines"),
        (claimed("19.98", "3.83", "23.81"), "invoice.lines"),
        (claimed("19.981"), "invoice.totals"),
        (claimed(gross="100"), "invoice.lines"),
    ],
)
def test_what_does_not_add_up_is_told(said: Claimed, code: str) -> None:
    found = add_up([line(), line()], said, "EUR")
    assert isinstance(found, Reason)
    assert found.code == code


def test_minor_units_are_the_currencys() -> None:
    assert good(line("3", "333.4"), currency="JPY").net == 1000
    assert good(line("1", "0.1234"), currency="KWD").net == D("0.123")


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.builds(
            lambda quantity, price, rate: Line(None, None, None, quantity, price, rate),
            st.decimals("0.0001", "1000", places=4),
            st.decimals("0", "1000", places=4),
            st.sampled_from([D("0.19"), D("0.07"), D("0")]),
        ),
        min_size=1,
        max_size=8,
    ),
    st.integers(-8, 8),
)
def test_lines_always_make_the_totals(lines: list[Line], cents: int) -> None:
    exact = good(*lines)
    said = Claimed(exact.net + D(cents) / 100, None, None)
    found: Any = add_up(lines, said, "EUR")
    assert isinstance(found, Totals) == (abs(cents) <= len(lines))
    if isinstance(found, Totals):
        assert sum(each.net for each in found.lines) == found.net == said.net
        assert sum(each.tax for each in found.lines) == found.tax
