"""A rate is dated, found across the base, and never older than agreed."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text

from include.data.rates import Published, Rate, RateMissing, RatesUnreadable, rate, rates, store_rates

FRIDAY = date(2026, 11, 20)
THURSDAY = date(2026, 11, 19)


def _published(day: date, currency: str, value: str, base: str = "EUR") -> Published:
    return Published(day, base, currency, Decimal(value))


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.begin() as connection:
        store_rates(
            connection,
            [
                _published(THURSDAY, "USD", "1.2500"),
                _published(THURSDAY, "GBP", "0.8000"),
                _published(THURSDAY, "JPY", "180.20"),
                _published(FRIDAY, "USD", "1.1600"),
                _published(FRIDAY, "IDR", "19303.55"),
            ],
            "ECB",
        )
        yield connection


def test_a_rate_from_the_base_is_the_published_one(connection: Connection) -> None:
    assert rate(connection, currency="EUR", to="USD", day=FRIDAY) == Rate(Decimal("1.16"), FRIDAY, "ECB")


def test_a_rate_to_the_base_is_its_inverse_in_ten_decimals(connection: Connection) -> None:
    assert rate(connection, currency="USD", to="EUR", day=THURSDAY).rate == Decimal("0.8")
    assert str(rate(connection, currency="IDR", to="EUR", day=FRIDAY).rate) == "0.0000518039"


def test_a_rate_between_two_others_takes_both_from_the_same_day(connection: Connection) -> None:
    assert rate(connection, currency="GBP", to="USD", day=FRIDAY) == Rate(Decimal("1.5625"), THURSDAY, "ECB")


def test_the_same_currency_needs_no_rate(connection: Connection) -> None:
    day = date(1980, 1, 1)
    assert rate(connection, currency="CHF", to="CHF", day=day) == Rate(Decimal(1), day, "same currency")


def test_on_a_weekend_the_last_working_day_counts(connection: Connection) -> None:
    assert rate(connection, currency="EUR", to="USD", day=FRIDAY + timedelta(days=2)).day == FRIDAY


def test_a_rate_older_than_a_week_and_one_of_a_later_day_are_missing(connection: Connection) -> None:
    assert rate(connection, currency="EUR", to="USD", day=FRIDAY + timedelta(days=7)).day == FRIDAY
    for day in (FRIDAY + timedelta(days=8), THURSDAY - timedelta(days=1)):
        with pytest.raises(RateMissing, match="exchange_rates"):
            rate(connection, currency="EUR", to="USD", day=day)
    assert rate(connection, currency="EUR", to="USD", day=FRIDAY + timedelta(days=8), oldest=timedelta(days=8))


def test_many_rates_are_found_at_once_and_those_missing_are_left_out(connection: Connection) -> None:
    known, unknown = ("USD", "EUR", THURSDAY), ("XYZ", "EUR", THURSDAY)
    same, odd = ("EUR", "EUR", THURSDAY), ("' or true --", "€", THURSDAY)
    assert set(rates(connection, [known, unknown, known, same, odd])) == {known, same}
    assert rates(connection, []) == {}


def test_storing_again_changes_nothing_and_a_correction_replaces(connection: Connection) -> None:
    friday = _published(FRIDAY, "USD", "1.16")
    assert store_rates(connection, [friday], "ECB") == 0
    assert store_rates(connection, [friday._replace(rate=Decimal("1.17"))], "ECB, corrected") == 1
    assert rate(connection, currency="EUR", to="USD", day=FRIDAY) == Rate(Decimal("1.17"), FRIDAY, "ECB, corrected")
    assert connection.execute(text("select count(*) from exchange_rates")).scalar_one() == 5


@pytest.mark.parametrize("value", ["0", "-1", "NaN", "Infinity", "1e10", "1e-11"])
def test_what_can_be_no_rate_is_not_stored(connection: Connection, value: str) -> None:
    with pytest.raises(RatesUnreadable):
        store_rates(connection, [_published(FRIDAY, "SEK", value)], "by hand")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.decimals("0.01", "10000", places=4), st.decimals("0.01", "10000", places=4))
def test_there_and_back_is_the_same_money_but_for_the_last_decimals(
    connection: Connection, one: Decimal, other: Decimal
) -> None:
    store_rates(connection, [_published(FRIDAY, "AAA", str(one)), _published(FRIDAY, "BBB", str(other))], "test")
    there = rate(connection, currency="AAA", to="BBB", day=FRIDAY).rate
    back = rate(connection, currency="BBB", to="AAA", day=FRIDAY).rate
    assert abs(there - other / one) <= Decimal("5.1e-11") + other / one * Decimal("1e-15")
    assert abs(there * back - 1) < Decimal("1e-10") * (there + back)
