"""Text as people and machines send it, made clean; and the folded form by which texts are compared.

It judges no meaning: an address or a name is read elsewhere.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Any

LONGEST_KEY = 200  # characters; PostgreSQL refuses index entries over 2,704 bytes

# Control characters and lone surrogates cannot be stored or seen; the invisible format characters only make
# two equal values differ. The zero-width joiners stay: Persian and emoji need them.
_UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b\u200e\u200f"
    "\u202a-\u202e\u2060-\u2064\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
)
_PLAIN = re.compile(r"[!-~]+(?: [!-~]+)*")
_SPACE = re.compile(r"\s+")
_SPACE_IN_LINE = re.compile(r"[^\S\n]+")
_NOTHING = frozenset(
    {"n/a", "n.a.", "#n/a", "none", "null", "nil", "nan", "undefined", "unknown", "[object object]", "k.a."}
    | {"keine angabe", "not applicable"}
)
_LONGEST_NOTHING = max(map(len, _NOTHING))
_MARKS = re.compile("[\u0300-\u036f]")
# Letters that have no decomposition in Unicode, and still count as the plain ones when names are compared.
_PLAIN_LETTERS = str.maketrans(
    {"ø": "o", "đ": "d", "ð": "d", "ł": "l", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "þ": "th", "ŧ": "t"}
)
_NO_WORD = re.compile(r"[\W_]+")


def text(value: object) -> str | None:
    """Return `value` as one clean line in Unicode NFC, or None where nothing is left of it.

    Numbers and booleans become their JSON notation, lists are joined by commas, objects are not read.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return _line(value)
    plain = _as_text(value)
    return None if plain is None else _line(plain)


def paragraphs(value: object) -> str | None:
    """Return `value` cleaned like `text`, with its line breaks."""
    plain = _as_text(value)
    if plain is None:
        return None
    plain = unicodedata.normalize("NFC", _UNSEEN.sub("", plain.replace("\r\n", "\n").replace("\r", "\n")))
    return "\n".join(_SPACE_IN_LINE.sub(" ", line).strip() for line in plain.split("\n")).strip() or None


def given(value: object) -> str | None:
    """Return `value` as one clean line, or None where it says that nothing was given (`n/a`, `-`, `null`)."""
    line = text(value)
    return None if line is None or _says_nothing(line) else line


def _says_nothing(line: str) -> bool:
    if line[0].isalnum() and len(line) > _LONGEST_NOTHING:
        return False
    return line.lower() in _NOTHING or not any(map(str.isalnum, line))


def fold(value: object) -> str | None:
    """Return the form of `value` by which texts are compared: no case, accents, punctuation or double spaces.

    Only Latin, Greek and Cyrillic lose their accents; the marks of other scripts carry the vowels. At most
    `LONGEST_KEY` characters.
    """
    line = text(value)
    return None if line is None else _fold(line)


@lru_cache(50_000)
def _fold(line: str) -> str | None:
    if line.isascii():
        folded = line.lower()
    else:
        folded = line
        for _ in range(2):  # folding can make characters that decompose, and decomposing ones that fold
            folded = unicodedata.normalize("NFKD", folded).casefold().translate(_PLAIN_LETTERS)
            folded = _MARKS.sub("", folded)
        folded = unicodedata.normalize("NFC", folded)
        folded = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in folded)
    words = _NO_WORD.sub(" ", folded) if folded.isascii() else folded
    return " ".join(words.split())[:LONGEST_KEY].strip() or None


def storable(value: Any) -> Any:
    """Return a JSON value in a form that PostgreSQL's `jsonb` holds.

    NUL and lone surrogates become U+FFFD, numbers that are none become None, very deep nesting is cut.
    """
    return _storable(value, 0)


_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_DEEPEST = 50
_LARGEST = 2**63


def _storable(value: Any, depth: int) -> Any:  # noqa: PLR0911 - one for each type of JSON
    if isinstance(value, str):
        return value if value.isascii() and "\0" not in value else _UNSTORABLE.sub("\ufffd", value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_LARGEST <= value < _LARGEST else None
    if isinstance(value, float):
        return value if value - value == 0 else None
    if depth >= _DEEPEST:
        return None
    if isinstance(value, dict):
        return {_storable(str(name), depth): _storable(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(inner, depth + 1) for inner in value]
    return None


def _line(value: str) -> str | None:
    if _PLAIN.fullmatch(value):
        return value
    clean = unicodedata.normalize("NFC", _UNSEEN.sub("", value))
    return _SPACE.sub(" ", clean).strip() or None


def _as_text(value: object) -> str | None:  # noqa: PLR0911 - one for each type of JSON
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value) if -_LARGEST <= value < _LARGEST else None
        case float():
            if value - value != 0:
                return None
            return str(int(value)) if value.is_integer() else repr(value)
        case list() | tuple():
            scalars = (part for part in value[:100] if not isinstance(part, list | tuple | dict))
            return ", ".join(part for part in map(text, scalars) if part) or None
    return None
