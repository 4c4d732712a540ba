"""Business time is right across nights, weekends, holidays and changes of the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.data.business_time import Calendar, add, between, calendar_of, is_open, subtract

BERLIN = ZoneInfo("Europe/Berlin")
ROUND_THE_CLOCK = Calendar("", BERLIN, opens=timedelta(0), closes=timedelta(hours=24), workdays=frozenset(range(7)))

calendars = st.sampled_from(
    [calendar_of(code) for code in ("DE", "US", "AE", "IL", "JP", None)] + [calendar_of("DE", "BY"), ROUND_THE_CLOCK]
)
moments = st.datetimes(min_value=datetime(2025, 1, 1), max_value=datetime(2027, 12, 31), timezones=st.just(UTC))
amounts = st.timedeltas(min_value=timedelta(0), max_value=timedelta(hours=80))


def berlin(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=BERLIN)


def test_four_hours_from_friday_afternoon_end_on_monday():
    assert add(berlin(2026, 11, 20, 16), timedelta(hours=4), calendar_of("DE")) == berlin(2026, 11, 23, 12)


def test_a_lead_in_the_night_is_due_from_the_next_opening():
    assert add(berlin(2026, 11, 18, 23), timedelta(hours=1), calendar_of("DE")) == berlin(2026, 11, 19, 10)


def test_christmas_is_no_business_time_in_germany_and_boxing_day_is_in_the_united_states():
    start = berlin(2025, 12, 24, 16)
    assert add(start, timedelta(hours=2), calendar_of("DE")) == berlin(2025, 12, 29, 10)
    assert is_open(datetime(2025, 12, 26, 10, tzinfo=ZoneInfo("America/New_York")), calendar_of("US"))


def test_a_regional_holiday_counts_in_its_region_only():
    epiphany = berlin(2026, 1, 6, 12)
    assert is_open(epiphany, calendar_of("DE"))
    assert not is_open(epiphany, calendar_of("DE", "BY"))


def test_the_weekend_is_the_countrys_own():
    friday = datetime(2026, 11, 20, 12, tzinfo=ZoneInfo("Asia/Jerusalem"))
    sunday = friday + timedelta(days=2)
    assert not is_open(friday, calendar_of("IL"))
    assert is_open(sunday, calendar_of("IL"))


def test_the_weekend_is_the_regions_own_as_it_is_on_the_day():
    kuala_lumpur = ZoneInfo("Asia/Kuala_Lumpur")
    friday, sunday = (datetime(2026, 11, day, 12, tzinfo=kuala_lumpur) for day in (20, 22))
    assert is_open(friday, calendar_of("MY"))
    assert not is_open(sunday, calendar_of("MY"))
    assert not is_open(friday, calendar_of("MY", "03")), "Kelantan"
    assert is_open(sunday, calendar_of("MY", "03"))
    assert is_open(friday, calendar_of("MY", "01")), "Johor has gone over to Saturday and Sunday"
    assert not is_open(datetime(2024, 11, 22, 12, tzinfo=kuala_lumpur), calendar_of("MY", "01"))


@pytest.mark.parametrize(
    ("country", "region", "hint"),
    [
        ("UK", None, "'UK' is no ISO 3166-1 code; write GB"),
        ("XX", None, "there is no country 'XX'; write an ISO 3166-1 code such as DE"),
        ("DE", "Bayern", "write BY"),
        ("DE", "Baiern", "write BY"),
        ("DE", "by", "write BY"),
        ("DE", "Atlantis", "write one of: BB, BE, BW, BY"),
        ("MY", "Kelantan", "write 03"),
        ("AE", "Dubai", "leave the region out"),
    ],
)
def test_a_place_that_there_is_not_is_refused_with_what_to_write(country, region, hint):
    with pytest.raises(ValueError, match=hint):
        calendar_of(country, region)


def test_business_hours_keep_the_wall_clock_when_the_clock_changes():
    before, after = berlin(2026, 3, 27, 16), berlin(2026, 3, 30, 10)
    assert add(before, timedelta(hours=2), calendar_of("DE")) == after
    assert after.astimezone(UTC).hour == 8


@pytest.mark.parametrize(("day", "hours"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)])
def test_a_day_of_a_clock_change_is_as_long_as_it_really_is(day, hours):
    start = berlin(*day)
    assert between(start, start + timedelta(days=1), ROUND_THE_CLOCK) == timedelta(hours=hours)


def test_without_a_country_there_is_a_calendar_all_the_same():
    assert add(datetime(2026, 11, 20, 16, tzinfo=UTC), timedelta(hours=2), calendar_of(None)) == datetime(
        2026, 11, 23, 10, tzinfo=UTC
    )


def test_a_moment_without_a_time_zone_is_refused():
    with pytest.raises(ValueError, match="has no time zone"):
        add(datetime(2026, 1, 1), timedelta(hours=1), calendar_of("DE"))


def test_a_time_zone_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="Europe/Atlantis"):
        calendar_of("DE", zone="Europe/Atlantis")


@given(moments, amounts, calendars)
def test_what_was_added_lies_between(moment, amount, calendar):
    assert between(moment, add(moment, amount, calendar), calendar) == amount


@given(moments, amounts, calendars)
def test_what_was_subtracted_lies_between(moment, amount, calendar):
    assert between(subtract(moment, amount, calendar), moment, calendar) == amount


@given(moments, amounts, amounts, calendars)
def test_adding_in_two_parts_is_adding_once(moment, first, second, calendar):
    assert add(add(moment, first, calendar), second, calendar) == add(moment, first + second, calendar)


@given(moments, amounts, calendars)
def test_subtracting_undoes_adding(moment, amount, calendar):
    end = add(moment, amount, calendar)
    assert between(subtract(end, amount, calendar), moment, calendar) == timedelta(0)
    assert subtract(end, amount, calendar) <= add(moment, timedelta(0), calendar)


@given(moments, moments, calendars)
def test_business_time_backwards_is_negative(one, other, calendar):
    assert between(one, other, calendar) == -between(other, one, calendar)
