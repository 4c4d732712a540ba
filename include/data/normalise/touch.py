"""Where a lead came from: campaign parameters, click ids, referrer and landing page, as first and last touch.

It looks at one delivery; which touch a contact keeps from several is decided by the contract's field rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from include.data.normalise.text import given

PARAMETERS = (
    *("utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content"),
    *("gclid", "fbclid", "msclkid"),
)
PAGES = ("referrer", "landing_page")
_LOWER = frozenset({"utm_source", "utm_medium"})  # Google and google are one source in every report
_LONGEST = 2048  # characters, of a URL as of a parameter

Touch = dict[str, str]


class Touches(NamedTuple):
    """How a visit began and what led to the form; the same where only one of them is known."""

    first: Touch | None
    last: Touch | None


def touches(fields: Mapping[str, Any]) -> Touches:
    """Read the touches from a lead's fields.

    The query of the landing page tells how the visit began; the explicit fields tell what came last. Where one
    of them names no campaign, the other stands for both.
    """
    pages = {name: line for name in PAGES if (line := _value(name, fields.get(name)))}
    explicit = {name: line for name in PARAMETERS if (line := _value(name, fields.get(name)))}
    landed = _query(pages.get("landing_page", "")) if "landing_page" in pages else {}
    first = {**(landed or explicit), **pages}
    last = {**(explicit or landed), **pages}
    return Touches(first or None, last or None)


def _value(name: str, value: object) -> str | None:
    line = given(value)
    if line is None:
        return None
    line = line[:_LONGEST].strip()
    return line.lower() if name in _LOWER else line


@lru_cache(10_000)
def _query(url: str) -> Touch:
    try:
        pairs = parse_qsl(urlsplit(url).query, max_num_fields=200)
    except ValueError:
        return {}
    found: Touch = {}
    for name, value in pairs:
        key = name.lower()
        if key in PARAMETERS and key not in found and (line := _value(key, value)):
            found[key] = line
    return found
