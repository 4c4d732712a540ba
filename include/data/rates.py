"""Exchange rates by day: stored as published, looked up across the base, and read from the ECB's files.

A rate is dated; nothing here knows today's. Fetching the file is the integrations' part.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import NamedTuple
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.data.money import AmountInvalid, parse_amount

OLDEST = timedelta(days=7)
"""How old a rate may be: the central bank publishes none on weekends and at Easter."""
ECB = "ECB"
ECB_BASE = "EUR"
_CUBE = "{http://www.ecb.int/vocabulary/2002-08-01/eurofxref}Cube"
_CODE = re.compile(r"[A-Z]{3}")


class RateMissing(LookupError):
    """No rate is known that is good for a day."""


class RatesUnreadable(ValueError):
    """A file of rates is not what its publisher says it is, or holds a rate that cannot be."""


class Rate(NamedTuple):
    """One unit of the one currency is `rate` units of the other, as published on `day`."""

    rate: Decimal
    day: date
    source: str


class Published(NamedTuple):
    """One unit of `base` is `rate` units of `currency`, as a source published it for `day`."""

    day: date
    base: str
    currency: str
    rate: Decimal


Wanted = tuple[str, str, date]
"""The currency that is had, the one that is wanted, and the day."""


def rate(connection: Connection, *, currency: str, to: str, day: date, oldest: timedelta = OLDEST) -> Rate:
    """Return the latest rate on or before `day` that is not older than `oldest`. RateMissing when there is none."""
    wanted = (currency, to, day)
    found = rates(connection, [wanted], oldest=oldest).get(wanted)
    if found is None:
        raise RateMissing(
            f"no rate of {currency} to {to} is known for {day} or the {oldest.days} days before it; "
            "trigger the DAG exchange_rates, or a backfill of it for that day"
        )
    return found


def rates(connection: Connection, wanted: Sequence[Wanted], *, oldest: timedelta = OLDEST) -> dict[Wanted, Rate]:
    """Return the rate of each of `wanted` as `rate` does, all in one query; those that are missing are left out.

    Where the two currencies are published against a third, both rates are of the same day. A computed rate has ten
    decimals, as the tables have, so that the rate kept with a case is the one that was used.
    """
    asked = set(wanted)
    found = {(had, to, day): Rate(Decimal(1), day, "same currency") for had, to, day in asked if had == to}
    rows = connection.execute(
        text("""
            select had, wanted, asked, found.rate, found.day, found.source
            from jsonb_to_recordset(:wanted) as w(had text, wanted text, asked date)
            cross join lateral (
                select round(each.rate, 10) as rate, each.day, each.source
                from (
                    select rate, day, source, 1 as detour, base from exchange_rates
                    where base = had and currency = wanted and day between asked - :oldest and asked
                    union all
                    select 1 / rate, day, source, 2, base from exchange_rates
                    where base = wanted and currency = had and day between asked - :oldest and asked
                    union all
                    select theirs.rate / ours.rate, day, theirs.source, 3, base
                    from exchange_rates ours join exchange_rates theirs using (base, day)
                    where ours.currency = had and theirs.currency = wanted and day between asked - :oldest and asked
                ) as each
                where round(each.rate, 10) > 0
                order by each.day desc, detour, base limit 1
            ) as found"""),
        {
            "wanted": Jsonb([{"had": had, "wanted": to, "asked": day} for had, to, day in sorted(asked - set(found))]),
            "oldest": oldest.days,
        },
    )
    return found | {(had, to, asked_for): Rate(*known) for had, to, asked_for, *known in rows}


def store_rates(connection: Connection, published: Iterable[Published], source: str) -> int:
    """Keep what a source published; a rate that it corrected since is replaced.

    :returns: how many are new or corrected.
    """
    rows = [_checked(each)._asdict() | {"rate": str(each.rate)} for each in published]
    return connection.execute(
        text("""
            insert into exchange_rates (day, base, currency, rate, source)
            select day, base, currency, rate, :source
            from jsonb_to_recordset(:rows) as v(day date, base text, currency text, rate numeric)
            on conflict (base, currency, day) do update set rate = excluded.rate, source = excluded.source
            where exchange_rates.rate <> excluded.rate"""),
        {"rows": Jsonb(rows), "source": source},
    ).rowcount


def _checked(published: Published) -> Published:
    for code in (published.base, published.currency):
        if not _CODE.fullmatch(code):
            raise RatesUnreadable(f"{code[:20]!r} is no code of a currency")
    try:
        amount = parse_amount(published.rate)
    except AmountInvalid as error:
        raise RatesUnreadable(f"the rate of {published.currency} on {published.day}: {error}") from None
    if amount <= 0 or amount >= Decimal(10) ** 10 or published.base == published.currency:
        raise RatesUnreadable(f"{amount} {published.currency} for one {published.base} is no rate")
    return published


def read_ecb(content: bytes) -> list[Published]:
    """Read the ECB's file of reference rates: eurofxref-daily.xml, eurofxref-hist-90d.xml or eurofxref-hist.xml.

    RatesUnreadable when it is anything else: a page of a proxy, half a file, a file without a day.
    """
    try:
        root = fromstring(content, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise RatesUnreadable(f"the ECB's file is no XML ({type(error).__name__})") from None
    found = [
        _checked(_published(day.get("time"), each.get("currency"), each.get("rate")))
        for day in root.iter(_CUBE)
        if "time" in day.attrib
        for each in day.iter(_CUBE)
        if each is not day
    ]
    if not found:
        raise RatesUnreadable("the ECB's file holds no rate; look at what its address answers")
    if len({(each.day, each.currency) for each in found}) < len(found):
        raise RatesUnreadable("the ECB's file holds two rates of one currency for one day")
    return found


def _published(day: str | None, currency: str | None, written: str | None) -> Published:
    try:
        return Published(date.fromisoformat(day or ""), ECB_BASE, currency or "", parse_amount(written or ""))
    except ValueError as error:
        raise RatesUnreadable(f"the ECB's rate of {currency} on {day}: {error}") from None
