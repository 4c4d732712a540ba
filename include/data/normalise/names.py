"""People's names: first, last and full, each in the person's own spelling, and a key to compare by.

Casing is touched only where somebody typed everything in capitals or nothing in capitals.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from nameparser import parse
from nameparser.config.particles import PARTICLES
from nameparser.config.suffixes import SUFFIX_WORDS
from nameparser.config.titles import TITLES

from include.data.normalise.text import fold, text

_LONGEST = 200  # characters; longer is no name, and reading it costs
_NOT_SIMPLE = frozenset(PARTICLES) | frozenset(TITLES) | frozenset(SUFFIX_WORDS)
# Two words in Latin letters, which most full names are, need no parser: it would cost ten times as much.
_SIMPLE = re.compile(r"([A-Za-z\u00c0-\u024f]{2,}) ([A-Za-z\u00c0-\u024f][A-Za-z0-9\u00c0-\u024f]*)")
_NOBODY = frozenset({"n/a", "undefined", "[object object]", "-"})
_BETWEEN_PARTS = re.compile("([-'’ ])")
_FEWEST_CAPITALS = 3  # letters: JJ and AJ are first names, DUPONT is a last name in capitals


class Name(NamedTuple):
    """A person's name; every part may be None.

    :param full: first and last name as they are shown.
    :param key: casefolded, without accents and punctuation.
    """

    first: str | None
    last: str | None
    full: str | None
    key: str | None


NO_NAME = Name(None, None, None, None)


def name(first: object, last: object, full: object = None) -> Name:
    """Bring together what a form gave as first, last and full name.

    A full name is taken apart where a part is missing: titles and suffixes are left out, particles stay with
    the last name, `Schmidt, Anna` and `DUPONT Marie` are turned round.
    """
    return _settled(_part(first), _part(last), _part(full))


@lru_cache(50_000)
def _settled(first: str | None, last: str | None, full: str | None) -> Name:
    """What is taken apart can itself be something to take apart, as in `0,A B`; one round is nearly always enough."""
    read = _name(first, last, full)
    for _ in range(5):
        before, read = read, _name(_part(read.first), _part(read.last), _part(read.full))
        if read == before:
            break
    return read


def _name(first: str | None, last: str | None, full: str | None) -> Name:
    if first and last:
        if first == last and " " in first:
            first, last = _taken_apart(first)
        else:
            first = _without(first, last)
            if _is_last_in_capitals(first, last):
                first, last = last, first
    else:
        longest = max((part for part in (full, first, last) if part), key=_words, default=None)
        if longest is None:
            return NO_NAME
        if " " in longest or "," in longest:
            first, last = _taken_apart(longest)
        elif not (first or last):
            first = longest
    first, last = _cased(first, beside=last), _cased(last, beside=first)
    shown = " ".join(part for part in (first, last) if part)
    return Name(first, last, shown or None, fold(shown))


def _words(value: str) -> int:
    return value.count(" ")


def _part(value: object) -> str | None:
    line = text(value)
    if line is None or len(line) > _LONGEST or "@" in line or line.lower() in _NOBODY:
        return None
    line = line.strip(' ,;"')
    return line if any(map(str.isalpha, line)) else None


def _without(first: str, last: str) -> str:
    """`Anna Schmidt` in the field of the first name, with `Schmidt` in the other one."""
    while len(first) > len(last) + 1 and first.endswith(" " + last):
        first = first[: -len(last)].rstrip()
    return first


def _taken_apart(value: str) -> tuple[str | None, str | None]:
    simple = _SIMPLE.fullmatch(value)
    if simple and not {simple[1].lower(), simple[2].lower()} & _NOT_SIMPLE:
        first, last = simple[1], simple[2]
    else:
        first, last = _parsed(value)
    if first and last and _is_last_in_capitals(first, last):
        return last, first
    return first, last


def _parsed(value: str) -> tuple[str | None, str | None]:
    try:
        read = parse(value)
        first, last = _part(f"{read.given} {read.middle}"), _part(read.family)
    except Exception:  # whatever a name is made of, it is no reason to lose the lead
        first = last = None
    if first and last:
        return first, last
    # One part only, or none (`Dr.`): what was written is all that is known.
    rest = first or last or value.replace(",", " ").strip()
    head, _, tail = " ".join(rest.split()).rpartition(" ")
    return (head, tail) if head else (tail or None, None)


def _is_last_in_capitals(first: str, last: str) -> bool:
    return (
        first.isupper()
        and sum(map(str.isalpha, first)) >= _FEWEST_CAPITALS
        and not _is_one_case(last)
        and any(map(str.islower, last))
        and _cased(first) != first
    )


def _cased(value: str | None, beside: str | None = None) -> str | None:
    if value is None:
        return None
    initials = value.isupper() and sum(map(str.isalpha, value)) < _FEWEST_CAPITALS
    if initials and beside and not _is_one_case(beside):
        return value  # whoever writes JJ Abrams means it
    for _ in range(3):  # a few letters, such as ŉ, need more than one round
        if not _is_one_case(value):
            break
        value = _recased(value)
    return value


def _is_one_case(value: str) -> bool:
    return value.isupper() or value.islower()


def _recased(value: str) -> str:
    words = value.lower().split(" ")
    end = len(words) - 1
    cased = [word if word in PARTICLES and at < end else _capitalised(word) for at, word in enumerate(words)]
    return unicodedata.normalize("NFC", " ".join(cased))


def _capitalised(word: str) -> str:
    pieces = _BETWEEN_PARTS.split(word)
    shown = []
    for place, piece in enumerate(pieces):
        before = pieces[place - 2] if place >= 2 else ""  # the piece in front of the separator
        after_apostrophe = place >= 1 and pieces[place - 1] in "'’"
        if not piece or (after_apostrophe and len(before) > 1):
            shown.append(piece)
        elif piece.startswith("mc") and len(piece) > 4:
            shown.append("Mc" + piece[2:].capitalize())
        else:
            shown.append(piece.capitalize())
    return "".join(shown)
