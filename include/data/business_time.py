"""Business time: hours in which people of a country work, its holidays and its clock changes respected.

Pure; it knows no cases and no owners. A moment is an aware datetime; an amount is real elapsed time, so a day
on which the clock is put forward has an hour less where that hour was a business hour.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from difflib import get_close_matches
from functools import cache, lru_cache
from importlib.resources import files
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays

ONE_DAY = timedelta(days=1)
OPENS = timedelta(hours=9)
CLOSES = timedelta(hours=17)
MONDAY_TO_FRIDAY = frozenset(range(5))

# Where a country has several time zones: the one in which most of its people work.
_MAIN_ZONES = {
    "AR": "America/Argentina/Buenos_Aires",
    "AU": "Australia/Sydney",
    "BR": "America/Sao_Paulo",
    "CA": "America/Toronto",
    "CL": "America/Santiago",
    "CN": "Asia/Shanghai",
    "CY": "Asia/Nicosia",
    "DE": "Europe/Berlin",
    "EC": "America/Guayaquil",
    "ES": "Europe/Madrid",
    "ID": "Asia/Jakarta",
    "KZ": "Asia/Almaty",
    "MN": "Asia/Ulaanbaatar",
    "MX": "America/Mexico_City",
    "MY": "Asia/Kuala_Lumpur",
    "NZ": "Pacific/Auckland",
    "PT": "Europe/Lisbon",
    "RU": "Europe/Moscow",
    "UA": "Europe/Kyiv",
    "US": "America/New_York",
}


class UnknownPlace(ValueError):
    """A country, a region of it or a time zone that there is not; the message says what to write."""


@dataclass(frozen=True)
class Calendar:
    """When people work: a country's working days and one span of hours on each of them.

    :param country: ISO 3166-1 code; '' has no holidays, and a weekend on Saturday and Sunday.
    :param region: subdivision as the `holidays` library names it (DE: BY; US: CA), or None.
    :param opens: since midnight by the wall clock.
    :param closes: since midnight by the wall clock, at most 24 hours.
    :param workdays: 0 is Monday; None: all but the weekend that country and region have on the day.
    """

    country: str
    zone: ZoneInfo
    region: str | None = None
    opens: timedelta = OPENS
    closes: timedelta = CLOSES
    workdays: frozenset[int] | None = None

    def __post_init__(self) -> None:
        if not timedelta(0) <= self.opens < self.closes <= ONE_DAY:
            raise ValueError(f"business hours from {self.opens} to {self.closes} are not a span within one day")
        if self.workdays is not None and not frozenset() < self.workdays <= frozenset(range(7)):
            raise ValueError("working days are numbers from 0 (Monday) to 6 (Sunday), at least one")


@cache
def calendar_of(country: str | None, region: str | None = None, zone: str | None = None) -> Calendar:
    """The calendar of a country: its holidays, its weekend, 9 to 17 o'clock where most of its people live.

    Without a country: no holidays, a weekend on Saturday and Sunday, and UTC.

    :param zone: IANA name, where the country's main one does not fit.
    :raises UnknownPlace: for a country, a region or a zone that does not exist.
    """
    code = (country or "").upper()
    _refuse_unknown(code, region)
    try:
        clock = ZoneInfo(zone or _main_zone(code))
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise UnknownPlace(f"there is no time zone {zone!r}; write an IANA name such as Europe/Berlin") from error
    return Calendar(code, clock, region or None)


def is_open(moment: datetime, calendar: Calendar) -> bool:
    """Whether `moment` lies in business hours; the opening instant does, the closing one does not."""
    window = _window(calendar, _local_day(moment, calendar))
    return window is not None and window[0] <= moment < window[1]


def add(moment: datetime, amount: timedelta, calendar: Calendar) -> datetime:
    """The earliest instant (UTC) by which `amount` of business time has passed since `moment`.

    Nothing to add gives `moment` itself in business hours, otherwise the next opening.

    :raises ValueError: for a negative amount or a moment without a time zone.
    """
    _check(moment, amount)
    position, left = moment.astimezone(UTC), amount
    day = _local_day(moment, calendar)
    while True:
        window = _window(calendar, day)
        if window is not None and position <= window[1]:
            position = max(position, window[0])
            if position + left <= window[1]:
                return position + left
            left -= window[1] - position
            position = window[1]
        day += ONE_DAY


def subtract(moment: datetime, amount: timedelta, calendar: Calendar) -> datetime:
    """The latest instant (UTC) from which `amount` of business time passes until `moment`.

    Nothing to subtract gives `moment` itself in business hours, otherwise the closing before it.

    :raises ValueError: for a negative amount or a moment without a time zone.
    """
    _check(moment, amount)
    position, left = moment.astimezone(UTC), amount
    day = _local_day(moment, calendar)
    while True:
        window = _window(calendar, day)
        if window is not None and position >= window[0]:
            position = min(position, window[1])
            if position - left >= window[0]:
                return position - left
            left -= position - window[0]
            position = window[0]
        day -= ONE_DAY


def between(start: datetime, end: datetime, calendar: Calendar) -> timedelta:
    """The business time from `start` to `end`; negative when `end` is earlier.

    :raises ValueError: for a moment without a time zone.
    """
    _check(start, timedelta(0))
    _check(end, timedelta(0))
    if end < start:
        return -between(end, start, calendar)
    total = timedelta(0)
    day, last = _local_day(start, calendar), _local_day(end, calendar)
    first, final = start.astimezone(UTC), end.astimezone(UTC)
    while day <= last:
        window = _window(calendar, day)
        if window is not None:
            total += max(min(window[1], final) - max(window[0], first), timedelta(0))
        day += ONE_DAY
    return total


def _check(moment: datetime, amount: timedelta) -> None:
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; business time needs to know whose clock it is")
    if amount < timedelta(0):
        raise ValueError("an amount of business time cannot be negative; use the opposite function")


def _local_day(moment: datetime, calendar: Calendar) -> date:
    return moment.astimezone(calendar.zone).date()


@lru_cache(maxsize=20_000)
def _window(calendar: Calendar, day: date) -> tuple[datetime, datetime] | None:
    """Opening and closing of a day in UTC, or None on a day without work."""
    if not _is_workday(calendar, day) or day in _holidays(calendar.country, calendar.region, day.year):
        return None
    midnight = datetime(day.year, day.month, day.day)
    opens, closes = (
        (midnight + span).replace(tzinfo=calendar.zone).astimezone(UTC) for span in (calendar.opens, calendar.closes)
    )
    return opens, closes


def _is_workday(calendar: Calendar, day: date) -> bool:
    if calendar.workdays is not None:
        return day.weekday() in calendar.workdays
    source = _source(calendar.country, calendar.region)
    return day.weekday() in MONDAY_TO_FRIDAY if source is None else not source.is_weekend(day)


@cache
def _holidays(country: str, region: str | None, year: int) -> frozenset[date]:
    if not country:
        return frozenset()
    return frozenset(holidays.country_holidays(country, subdiv=region, years=year))


@cache
def _source(country: str, region: str | None = None) -> holidays.HolidayBase | None:
    """What the holidays library has of a country, or of a region of it; it loads that country alone."""
    if len(country) != 2:
        return None
    try:
        return holidays.country_holidays(country, subdiv=region, years=())
    except NotImplementedError:
        return None


def _refuse_unknown(country: str, region: str | None) -> None:
    if not country:
        return
    source = _source(country)
    if source is None:
        raise UnknownPlace(f"there is no country {country!r}; write an ISO 3166-1 code such as DE")
    if source.country != country:
        raise UnknownPlace(f"{country!r} is no ISO 3166-1 code; write {source.country}")
    if region and region not in source.subdivisions:
        codes = {code.casefold(): code for code in source.subdivisions}
        codes |= {name.casefold(): code for name, code in source.subdivisions_aliases.items()}
        closest = get_close_matches(region.casefold(), codes, n=1)
        hint = (
            f"write {codes[closest[0]]}" if closest
            else f"write one of: {', '.join(source.subdivisions)}" if codes
            else "leave the region out"
        )  # fmt: skip
        raise UnknownPlace(f"{country} has no region {region!r} with holidays of its own; {hint}")


@cache
def _zones() -> dict[str, str]:
    """The first time zone of each country in the time-zone database."""
    found: dict[str, str] = {}
    for line in files("tzdata").joinpath("zoneinfo", "zone.tab").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            country, _, zone = line.split("\t")[:3]
            found.setdefault(country, zone)
    return found


def _main_zone(country: str) -> str:
    return _MAIN_ZONES.get(country) or _zones().get(country, "UTC")
