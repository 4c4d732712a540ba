"""The days, weeks and months that reports are about, by the company's clock.

A week begins on Monday. An interval holds its first instant and not its last; across a change of the clocks a day has
23 or 25 hours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo


class Period(StrEnum):
    """How much time one edition of a report is about."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"


LOOKED_AT_AGAIN = {Period.DAILY: 7, Period.WEEKLY: 1, Period.MONTHLY: 1}
"""How many intervals before one are made again with it: what happened in them is often told days later."""


@dataclass(frozen=True)
class Interval:
    """The time that an edition is about.

    :param first: its first day.
    :param end: the day after its last one.
    :param so_far: the moment at which it is looked at, where it is not over; None where it is.
    """

    period: Period
    first: date
    end: date
    zone: ZoneInfo
    so_far: datetime | None = None

    @property
    def since(self) -> datetime:
        """Its first instant."""
        return datetime.combine(self.first, time(), self.zone)

    @property
    def until(self) -> datetime:
        """The first instant after it, or after what there is of it so far."""
        return self.so_far or datetime.combine(self.end, time(), self.zone)

    @property
    def last(self) -> date:
        """Its last day."""
        return self.end - timedelta(days=1)

    def __str__(self) -> str:
        """For people: `Mon 2 Mar 2026`, `week 10 of 2026`, `March 2026`; a preview says how far it goes."""
        if self.so_far:
            return f"{replace(self, so_far=None)} so far, until {self.so_far.astimezone(self.zone):%a %H:%M}"
        match self.period:
            case Period.DAILY:
                return f"{self.first:%a} {self.first.day} {self.first:%b %Y}"
            case Period.WEEKLY:
                year, week, _ = self.first.isocalendar()
                return f"week {week} of {year}"
            case Period.MONTHLY:
                return f"{self.first:%B %Y}"


def containing(period: Period, day: date, zone: ZoneInfo) -> Interval:
    """Return the interval that a day belongs to."""
    match period:
        case Period.DAILY:
            return Interval(period, day, day + timedelta(days=1), zone)
        case Period.WEEKLY:
            first = day - timedelta(days=day.weekday())
            return Interval(period, first, first + timedelta(days=7), zone)
        case Period.MONTHLY:
            first = day.replace(day=1)
            return Interval(period, first, (first + timedelta(days=31)).replace(day=1), zone)


def last_whole(period: Period, moment: datetime, zone: ZoneInfo) -> Interval:
    """Return the last interval that was over at `moment`."""
    begun = containing(period, moment.astimezone(zone).date(), zone)
    return containing(period, begun.first - timedelta(days=1), zone)


def earlier(interval: Interval) -> list[Interval]:
    """Return the intervals before one that are looked at again with it, the earliest first."""
    found = []
    for _ in range(LOOKED_AT_AGAIN[interval.period]):
        interval = containing(interval.period, interval.first - timedelta(days=1), interval.zone)
        found.append(interval)
    return found[::-1]


def begun(period: Period, moment: datetime, zone: ZoneInfo) -> Interval:
    """Return the interval that `moment` is in, as far as it has come."""
    today = moment.astimezone(zone).date()
    return Interval(period, containing(period, today, zone).first, today + timedelta(days=1), zone, so_far=moment)
