"""Plain values that arrive as text: yes and no, whole numbers, moments.

It knows no time zone but UTC: a moment that names none is taken for UTC.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

from include.data.normalise.text import fold, given

# In the languages of Europe and of East Asia, and as forms and spreadsheets have it.
_YES = """1, true, yes, y, on, ja, oui, si, sim, tak, ano, da, kyllä, joo, evet, ναι, はい, 是, 예, ok, okay, x,
    checked, accepted, agree, agreed, i agree, granted, given, consent, subscribed, optin, opt in, einverstanden,
    zugestimmt, ich stimme zu, j accepte, acepto, accetto, akkoord"""
_NO = """0, false, no, n, off, nein, non, nee, nej, nie, ne, nei, não, ei, hayır, όχι, いいえ, 否, 아니요,
    unchecked, declined, denied, refused, withdrawn, i do not agree, not given, unsubscribed, optout, opt out"""
_TRUE, _FALSE = (frozenset(fold(word) for word in words.split(",")) for words in (_YES, _NO))
_NUMBER = re.compile(r"(\d{1,3}(?:[.,'’ \u202f]\d{3})+(?!\d)|\d+)(?:[.,]\d+)?\s*([kKmM]?)\b")
_EPOCH = re.compile(r"\d{9,13}(?:\.\d+)?")
_OUT_OF_RANGE = 2**31  # of PostgreSQL's integer
_FIRST_YEAR, _LAST_YEAR = 1900, 2200


def boolean(value: object) -> bool | None:
    """Read yes or no as forms and spreadsheets write it, in several languages; None where it is neither."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return {1.0: True, 0.0: False}.get(float(value)) if abs(value) <= 1 else None
    line = given(value)
    return None if line is None or len(line) > 50 else _boolean(line)


@lru_cache(1_000)
def _boolean(line: str) -> bool | None:
    folded = fold(line)
    if folded in _TRUE:
        return True
    return False if folded in _FALSE else None


def whole_number(value: object) -> int | None:
    """Read a whole number: `1,200`, `1.200`, `50+`, `2k`; of a range (`51-200`) the lower end; else None.

    A fraction is cut off. The result fits into 32 bits.
    """
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        try:
            number = math.trunc(value)
        except (ValueError, OverflowError):
            return None
        return number if -_OUT_OF_RANGE <= number < _OUT_OF_RANGE else None
    line = given(value)
    return None if line is None or len(line) > 100 else _whole_number(line)


@lru_cache(10_000)
def _whole_number(line: str) -> int | None:
    found = _NUMBER.search(line)
    if not found:
        return None
    digits = re.sub(r"\D", "", found[1])
    number = int(digits) * {"": 1, "k": 1_000, "m": 1_000_000}[found[2].lower()]
    if line.startswith(("-", "−")):
        number = -number
    return number if -_OUT_OF_RANGE <= number < _OUT_OF_RANGE else None


def moment(value: object) -> datetime | None:
    """Read a moment in ISO 8601, or as seconds or milliseconds since 1970; the result is in UTC.

    A date alone is its midnight; a moment without a zone is taken for UTC. None outside 1900 to 2199.
    """
    line = given(value)
    return None if line is None or len(line) > 60 else _moment(line)


@lru_cache(50_000)
def _moment(line: str) -> datetime | None:
    try:
        if _EPOCH.fullmatch(line):
            number = float(line)
            read = datetime.fromtimestamp(number / (1000 if number >= 1e11 else 1), UTC)
        else:
            read = datetime.fromisoformat(re.sub(r"\s*(?:UTC|GMT)$", "+00:00", line))
            read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return read if _FIRST_YEAR <= read.year < _LAST_YEAR else None


def moment_in(written: str, forms: Sequence[str]) -> datetime | None:
    """Return the moment that a text is, in ISO 8601 or one of `forms` (strptime's); None where it is none.

    :returns: without a zone where the text names none.
    """
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        pass
    for form in forms:
        try:
            return datetime.strptime(written, form)
        except ValueError:
            continue
    return None
