"""Whether two documents of a source say the same, although their files are of different formats.

A spreadsheet writes a price as 2.5 and a moment as a moment where a CSV of it has 2.50 and 12/1/2010 8:26. What counts
is what the source's mapping reads.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from include.data.normalise.values import moment_in
from include.intake.sources import Source

HALF_A_SECOND = timedelta(seconds=0.5)
"""A spreadsheet keeps a moment as a share of a day, which is not exact."""
PLACE = "row"
"""The field of a line that says where in its file it stood."""
_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_MOMENT = re.compile(r"\d+[-/.]\d+[-/.]\d+\b.*")


def say_the_same(declared: Source, one: bytes, other: bytes) -> bool:
    """Whether the fields of two documents hold the same, wherever in their files the rows of both stood.

    Documents that do not fit the mapping hold what it does not read, and never say the same.
    """
    forms = tuple(declared.dates)
    first, second = (declared.mapping.apply(body) for body in (one, other))
    if first.reasons or second.reasons:
        return False
    return bool(_content(first.fields, forms) == _content(second.fields, forms))


def _content(value: Any, forms: tuple[str, ...]) -> Any:
    if isinstance(value, Mapping):
        return {name: _content(each, forms) for name, each in value.items() if name != PLACE}
    if isinstance(value, list):
        return [_content(each, forms) for each in value]
    return "" if value is None else _plain(str(value), forms)


@lru_cache(50_000)
def _plain(written: str, forms: tuple[str, ...]) -> str:
    """Return a value as it is written whatever the file's format; a number with zeros in front is a code."""
    text = written.strip()
    if _NUMBER.fullmatch(text):
        return f"{Decimal(text).normalize():f}"
    if _MOMENT.fullmatch(text) and (found := moment_in(text, forms)):
        return (found + HALF_A_SECOND).replace(microsecond=0).isoformat()
    return text
