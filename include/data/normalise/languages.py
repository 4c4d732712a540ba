"""Languages to BCP 47, language and region only (`de`, `de-CH`), from tags, locales, ISO 639 codes and names.

It does not guess a language from a country.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache

import langcodes
from babel import Locale

from include.data.normalise.places import LANGUAGES
from include.data.normalise.text import fold, given


def language(value: object) -> str | None:
    """Return the tag of `de_DE`, `deu`, `German`, `Deutsch`, or of the first in an Accept-Language header."""
    line = given(value)
    return None if line is None or len(line) > 200 else _language(line)


@lru_cache(10_000)
def _language(line: str) -> str | None:
    first = re.split("[,;.]", line, maxsplit=1)[0].strip()
    return _tag(first) or _named().get(fold(line) or "")


def _tag(line: str) -> str | None:
    if not line.isascii():
        return None
    try:
        read = langcodes.Language.get(line)
        if not read.language or read.language == "und" or not read.is_valid():
            return None
    except ValueError:  # langcodes.LanguageTagError is one
        return None
    region = read.territory or ""
    return f"{read.language}-{region}" if len(region) == 2 and region != "ZZ" else read.language


@cache
def _named() -> dict[str, str]:
    names: dict[str, str] = {}
    for speaker in LANGUAGES:
        for code, named in Locale.parse(speaker).languages.items():
            tag = code.replace("_", "-")
            if "-" not in tag and (folded := fold(named)):
                names.setdefault(folded, tag)
    return names
