"""Days, weeks and months by the company's clock."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from include.reporting.intervals import Period, begun, containing, earlier, last_whole

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("period", "first", "end", "told"),
    [
        (Period.DAILY, date(2026, 2, 28), date(2026, 3, 1), "Sat 28 Feb 2026"),
        (Period.WEEKLY, date(2026, 2, 16), date(2026, 2, 23), "week 8 of 2026"),
        (Period.MONTHLY, date(2026, 2, 1), date(2026, 3, 1), "February 2026"),
    ],
)
def test_a_run_is_about_the_last_one_that_is_over(period: Period, first: date, end: date, told: str) -> None:
    found = last_whole(period, datetime(2026, 3, 1, 4, tzinfo=UTC), BERLIN)
    assert (found.first, found.end, str(found)) == (first, end, told)


def test_midnight_is_the_companys() -> None:
    before = last_whole(Period.DAILY, datetime(2026, 3, 1, 22, 59, tzinfo=UTC), BERLIN)
    after = last_whole(Period.DAILY, datetime(2026, 3, 1, 23, 0, tzinfo=UTC), BERLIN)
    assert (before.first, after.first) == (date(2026, 2, 28), date(2026, 3, 1))


def test_a_year_ends_within_a_week_and_in_december() -> None:
    week = containing(Period.WEEKLY, date(2027, 1, 1), BERLIN)
    assert (week.first, str(week)) == (date(2026, 12, 28), "week 53 of 2026")
    assert containing(Period.MONTHLY, date(2026, 12, 31), BERLIN).end == date(2027, 1, 1)


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 3, 29), 23), (date(2026, 10, 25), 25), (date(2026, 6, 1), 24)])
def test_a_day_on_which_the_clocks_change_has_an_hour_less_or_more(day: date, hours: int) -> None:
    found = containing(Period.DAILY, day, BERLIN)
    assert (found.until.timestamp() - found.since.timestamp()) / 3600 == hours


@pytest.mark.parametrize(
    ("period", "first", "told"),
    [
        (Period.DAILY, date(2026, 3, 4), "Wed 4 Mar 2026 so far, until Wed 14:30"),
        (Period.WEEKLY, date(2026, 3, 2), "week 10 of 2026 so far, until Wed 14:30"),
        (Period.MONTHLY, date(2026, 3, 1), "March 2026 so far, until Wed 14:30"),
    ],
)
def test_what_is_not_over_goes_as_far_as_the_moment_and_says_so(period: Period, first: date, told: str) -> None:
    moment = datetime(2026, 3, 4, 13, 30, tzinfo=UTC)
    found = begun(period, moment, BERLIN)
    assert (found.first, found.end, found.until, str(found)) == (first, date(2026, 3, 5), moment, told)


def test_the_days_of_a_week_are_looked_at_again_and_the_last_week_and_month() -> None:
    first = {period: [str(each) for each in earlier(containing(period, date(2026, 3, 3), BERLIN))] for period in Period}
    assert first[Period.DAILY][0] == "Tue 24 Feb 2026"
    assert first[Period.DAILY][-1] == "Mon 2 Mar 2026"
    assert len(first[Period.DAILY]) == 7
    assert (first[Period.WEEKLY], first[Period.MONTHLY]) == (["week 9 of 2026"], ["February 2026"])
