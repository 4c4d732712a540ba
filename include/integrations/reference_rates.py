"""Fetches the ECB's reference rates over HTTP; what the file means is `include.data.rates`' part."""

from __future__ import annotations

from datetime import date

from include.data.rates import OLDEST, Published, RatesUnreadable, read_ecb
from include.integrations.http import HttpClient

RECENT = "/stats/eurofxref/eurofxref-hist-90d.xml"
HISTORY = "/stats/eurofxref/eurofxref-hist.xml"
"""The last 90 days in some 100 kB, and all days since 1999 in some 10 MB."""


def fetch(
    client: HttpClient, since: date, until: date, *, recent: str = RECENT, history: str = HISTORY
) -> list[Published]:
    """Return the rates that are good for [since, until], and what else the small file has before that.

    The large file is asked only for days that the small one no longer has.

    :raises SystemTrouble: when the file cannot be had now.
    :raises RatesUnreadable: when it is something else, or ends too long before `until`.
    """
    first = since - OLDEST
    published = _read(client, recent)
    if min(each.day for each in published) > first:
        published = [each for each in _read(client, history) if each.day >= first]
    published = [each for each in published if each.day <= until]
    newest = max((each.day for each in published), default=None)
    if newest is None or newest < until - OLDEST:
        raise RatesUnreadable(
            f"the newest rates up to {until} are of {newest or 'no day'}; look whether the file's address has moved"
        )
    return published


def _read(client: HttpClient, path: str) -> list[Published]:
    return read_ecb(client.request("GET", path, headers={"accept": "application/xml, text/xml"}).content)
