"""Countries to ISO 3166-1 alpha-2 from codes and from names in many languages; postal codes in one notation.

Regions and cities stay as they were written.
"""

from __future__ import annotations

from functools import cache, lru_cache

import pycountry
from babel import Locale

from include.data.normalise.text import fold, given, text

KOSOVO = "XK"  # not in ISO 3166, but what everybody writes, in the range that ISO leaves to its users
# In this order: where two languages use one word for two countries, the earlier language decides.
LANGUAGES = (
    *("en", "de", "fr", "es", "it", "nl", "pt", "pl", "sv", "da", "nb", "fi", "cs", "sk", "hu", "ro", "el", "tr"),
    *("uk", "ru", "bg", "hr", "sl", "lt", "lv", "et", "ja", "zh", "ko", "ar", "he"),
)
_ALSO = {
    "uk": "GB", "great britain": "GB", "england": "GB", "scotland": "GB", "wales": "GB",
    "northern ireland": "GB", "u k": "GB", "u s": "US", "u s a": "US", "us of a": "US", "america": "US",
    "united states of america": "US", "holland": "NL", "the netherlands": "NL", "el": "GR", "uae": "AE",
    "brd": "DE", "bundesrepublik deutschland": "DE", "czech republic": "CZ", "korea": "KR",
    "south korea": "KR", "russia": "RU", "turkey": "TR", "ivory coast": "CI", "republic of ireland": "IE",
    "schweiz suisse": "CH", "ch schweiz": "CH", "macedonia": "MK", "kosovo": KOSOVO, "xk": KOSOVO,
    "xkx": KOSOVO, "vietnam": "VN", "bolivia": "BO", "venezuela": "VE", "tanzania": "TZ", "burma": "MM",
    "swaziland": "SZ", "cape verde": "CV", "hong kong": "HK", "macau": "MO", "palestine": "PS",
    "vatican": "VA",
}  # fmt: skip


def country(value: object) -> str | None:
    """Return the alpha-2 code of a country from a code (alpha-2, alpha-3, `US-CA`) or a name, or None."""
    line = given(value)
    return None if line is None or len(line) > 100 else _country(line)


def codes() -> frozenset[str]:
    """Return every code that `country` can give."""
    return frozenset({entry.alpha_2 for entry in pycountry.countries} | {KOSOVO})


@lru_cache(10_000)
def _country(line: str) -> str | None:
    folded = fold(line)
    if folded is None:
        return None
    if folded in _ALSO:
        return _ALSO[folded]
    found = _english().get(folded) or _translated().get(folded)
    if found:
        return found
    subdivision = pycountry.subdivisions.get(code=line.upper())  # type: ignore[no-untyped-call]
    return str(subdivision.country_code) if subdivision else None


@cache
def _english() -> dict[str, str]:
    names: dict[str, str] = {}
    for entry in pycountry.countries:
        for attribute in ("alpha_2", "alpha_3", "name", "official_name", "common_name"):
            if folded := fold(getattr(entry, attribute, None)):
                names.setdefault(folded, entry.alpha_2)
    return names


@cache
def _translated() -> dict[str, str]:
    """Names in other languages; read only where no code or English name fits: it takes 0.2 s, once."""
    names: dict[str, str] = {}
    known = codes()
    for language in LANGUAGES:
        for code, named in Locale.parse(language).territories.items():
            if code in known and (folded := fold(named)):
                names.setdefault(folded, code)
    return names


def postal_code(value: object) -> str | None:
    """Return a postal code in capitals, e.g. `SW1A 1AA`."""
    line = given(value)
    return text(line.upper()) if line else None
