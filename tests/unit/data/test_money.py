"""Money is exact, or it is refused."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from include.data.money import (
    AmountInvalid,
    CurrencyUnknown,
    Money,
    known,
    minor_units,
    parse_amount,
    round_to,
    split,
)

CURRENCIES = st.sampled_from(["EUR", "JPY", "KWD", "CLF", "RSD", "HUF"])
AMOUNTS = st.decimals(min_value=-(10**12), max_value=10**12, places=4)


@pytest.mark.parametrize(
    ("currency", "units"), [("EUR", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4), ("RSD", 2), ("LBP", 2), ("IQD", 3)]
)
def test_minor_units_are_those_of_iso_4217_and_not_of_how_prices_are_shown(currency: str, units: int) -> None:
    assert minor_units(currency) == units


@pytest.mark.parametrize("currency", ["", "eur", "EURO", "XXX", "XAU", "DEM", "HRK", "€", "E" * 5000])
def test_what_nothing_is_paid_in_is_no_currency(currency: str) -> None:
    assert not known(currency)
    with pytest.raises(CurrencyUnknown):
        minor_units(currency)
    with pytest.raises(CurrencyUnknown):
        round_to(Decimal(1), currency)


@pytest.mark.parametrize(
    ("written", "amount"),
    [
        ("0", "0"), ("-0.00", "0.00"), ("1234.50", "1234.50"), (" 7 ", "7"), ("+1.5", "1.5"), (".5", "0.5"),
        ("1.", "1"), ("1e3", "1000"), ("12.5E-1", "1.25"), ("1." + "0" * 40, "1.0000000000"), (3, "3"),
        (Decimal("2.50"), "2.50"), (Decimal("1E+2"), "100"), ("0e999", "0"),
    ],
)  # fmt: skip
def test_an_amount_is_read_as_it_was_written(written: str | int | Decimal, amount: str) -> None:
    assert str(parse_amount(written)) == amount


@pytest.mark.parametrize(
    "value",
    [
        "", " ", "1e999999", "1e16", "1e-11", "9" * 16, pytest.param("1" * 5000, id="long"),
        "NaN", "sNaN", "Infinity", "-inf", "１２", " 1,5 ",
        "1,234.50", "1.234,50", "1 000", "12 EUR", "0x10", "1_000", "--1", "1e", "٣", "1\x00", "½", "1.00000000001",
        10**16, pytest.param(-(10**5000), id="huge"),
        Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), Decimal("1e999999"),
        Decimal("1e-999999"), 1.5, 0.0, float("nan"), True, None, [], {}, b"1", object(),
    ],
)  # fmt: skip
def test_what_is_no_amount_is_refused(value: object) -> None:
    with pytest.raises(AmountInvalid):
        parse_amount(value)  # type: ignore[arg-type]


@given(st.one_of(st.text(), st.integers(), st.decimals(), st.floats(), st.binary(), st.none(), st.booleans()))
@example("1e999")
@example("-" * 70)
def test_whatever_is_sent_is_an_amount_in_bounds_or_refused(value: object) -> None:
    try:
        amount = parse_amount(value)  # type: ignore[arg-type]
    except AmountInvalid:
        return
    assert not isinstance(value, float | bool)
    assert amount.is_finite()
    assert abs(amount) < 10**15
    assert -10 <= int(amount.as_tuple().exponent) <= 0


@given(AMOUNTS)
def test_an_amount_survives_being_written_and_read(amount: Decimal) -> None:
    assert parse_amount(str(amount)) == amount
    assert parse_amount(f"{amount:f}") == amount


@given(AMOUNTS, CURRENCIES)
def test_rounding_is_off_by_half_a_unit_at_most_and_happens_once(amount: Decimal, currency: str) -> None:
    rounded = round_to(amount, currency)
    assert abs(rounded - amount) * 2 <= Decimal(1).scaleb(-minor_units(currency))
    assert round_to(rounded, currency) == rounded
    assert round_to(-amount, currency) == -rounded
    assert -int(rounded.as_tuple().exponent) == minor_units(currency)


def test_halves_are_rounded_away_from_zero() -> None:
    assert [str(round_to(Decimal(each), "EUR")) for each in ("0.125", "-0.125", "0.124999", "2.675")] == [
        "0.13", "-0.13", "0.12", "2.68",
    ]  # fmt: skip


@given(AMOUNTS, CURRENCIES, st.lists(st.decimals(0, 1000, places=3), min_size=1, max_size=20).filter(any))
def test_the_parts_of_a_split_sum_to_the_total_and_are_off_by_less_than_a_unit(
    amount: Decimal, currency: str, weights: list[Decimal]
) -> None:
    total = round_to(amount, currency)
    parts = split(total, weights)
    unit = Decimal(1).scaleb(-minor_units(currency))
    assert sum(parts) == total
    assert len(parts) == len(weights)
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - total * weight / sum(weights)) < unit + Decimal("1e-9")
        assert weight or not part


def test_a_split_gives_the_rest_to_whom_most_of_it_belongs() -> None:
    assert split(Decimal("100.00"), [1, 1, 1]) == [Decimal("33.34"), Decimal("33.33"), Decimal("33.33")]
    assert split(Decimal("-0.05"), [1, 3]) == [Decimal("-0.01"), Decimal("-0.04")]


@pytest.mark.parametrize("weights", [[], [0, 0], [1, -1], [2, -1]])
def test_nothing_is_split_by_weights_that_make_no_whole(weights: list[int]) -> None:
    with pytest.raises(ValueError, match="weights"):
        split(Decimal(1), weights)


@pytest.mark.parametrize("value", [1.5, 1, "1", Decimal("NaN"), Decimal("Infinity"), Decimal("1e999")])
def test_only_a_sane_decimal_is_rounded(value: object) -> None:
    with pytest.raises(AmountInvalid):
        round_to(value, "EUR")  # type: ignore[arg-type]


def test_a_float_is_no_total_and_no_weight() -> None:
    with pytest.raises(AmountInvalid):
        split(1.5, [1])  # type: ignore[arg-type]
    with pytest.raises(AmountInvalid):
        split(Decimal(1), [0.5])  # type: ignore[list-item]


@given(AMOUNTS, AMOUNTS, CURRENCIES)
def test_money_of_one_currency_adds_up(one: Decimal, other: Decimal, currency: str) -> None:
    a, b = Money(round_to(one, currency), currency), Money(round_to(other, currency), currency)
    assert a + b - b == a
    assert (a + b).amount == a.amount + b.amount


def test_money_of_two_currencies_is_not_added_and_half_a_cent_is_no_money() -> None:
    with pytest.raises(CurrencyUnknown):
        Money(Decimal(1), "EUR") + Money(Decimal(1), "USD")
    with pytest.raises(AmountInvalid):
        Money(Decimal("0.125"), "EUR")
    assert str(Money(Decimal("1234567.5"), "EUR")) == "1,234,567.50 EUR"
