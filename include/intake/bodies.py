"""Reading bodies: strict JSON, bounded in depth, and cutting arrays and lines into items exactly as sent.

Knows nothing of HTTP nor of the fields inside.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import orjson

DEEPEST = 64
"""Levels of nesting; form providers need about ten."""

LONGEST_WHOLE = 18
"""Digits, with the sign, of a whole number that fits into 64 bits whatever they are."""

_BOM = b"\xef\xbb\xbf"
_DECODER = json.JSONDecoder()
_BLANK = " \t\r\n"


@dataclass(eq=False)
class Unreadable(Exception):
    """A body or item that is not what it should be; `code` is not_json, not_an_object or too_deep."""

    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Piece:
    """One item of a body: its bytes as sent, and what they say."""

    body: bytes
    document: dict[str, Any]


def parse(body: bytes) -> Any:
    """Return the JSON in `body`; of a repeated name in an object the last value counts.

    :raises Unreadable: not UTF-8, not JSON (NaN, raw control characters and lone surrogates included), or
        nested deeper than DEEPEST.
    """
    try:
        document = orjson.loads(body.removeprefix(_BOM))
    except orjson.JSONDecodeError as error:
        if "depth limit" in error.msg or "recursion" in error.msg.lower():
            raise _too_deep() from None
        raise Unreadable("not_json", f"The body is not JSON in UTF-8: {error.msg}, at character {error.pos}.") from None
    if body.count(b"{") + body.count(b"[") > DEEPEST and _deeper(document, DEEPEST):
        raise _too_deep()
    return document


def parse_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`.

    :raises Unreadable: as `parse`, or when it is something else than an object.
    """
    return _object(parse(body))


def with_numbers_as_written(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`, which `parse_object` could read, with no number made a float.

    Whole numbers are integers; all others are the text that was sent, so that an amount keeps every digit.
    """
    document: dict[str, Any] = json.loads(body.removeprefix(_BOM), parse_float=str, parse_int=_whole)
    return document


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_WHOLE else digits


def _object(document: Any) -> dict[str, Any]:
    if not isinstance(document, dict):
        raise Unreadable("not_an_object", f"A JSON object is expected, and this is {_kind(document)}.")
    return document


def _kind(document: Any) -> str:
    kinds = {list: "an array", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(document), "a number")


def _too_deep() -> Unreadable:
    return Unreadable("too_deep", f"The body is nested deeper than {DEEPEST} levels.")


def _deeper(document: Any, allowed: int) -> bool:
    """Tell whether `document` has more than `allowed` levels, without using Python's stack."""
    level = [document]
    for _ in range(allowed + 1):
        level = [part for part in level if isinstance(part, dict | list)]
        if not level:
            return False
        level = [child for part in level for child in (part.values() if isinstance(part, dict) else part)]
    return True


def split_array(body: bytes) -> list[Piece]:
    """Cut a JSON array of objects into its items; each keeps the very bytes that were sent.

    :raises Unreadable: as `parse_object`; the detail says which item is at fault, counted from 0.
    """
    documents = parse(body)
    if not isinstance(documents, list):
        raise Unreadable("not_an_array", f"A JSON array is expected, and this is {_kind(documents)}.")
    text = body.removeprefix(_BOM).decode()
    place = text.index("[") + 1
    pieces = []
    for index, document in enumerate(documents):
        while text[place] in _BLANK or text[place] == ",":
            place += 1
        _, end = _DECODER.raw_decode(text, place)
        pieces.append(Piece(text[place:end].encode(), _nth(index, document)))
        place = end
    return pieces


def split_lines(body: bytes) -> list[Piece]:
    """Cut NDJSON into its items; blank lines are skipped.

    :raises Unreadable: as `parse_object`; the detail says which item is at fault, counted from 0.
    """
    lines = [line for raw in body.removeprefix(_BOM).split(b"\n") if (line := raw.strip(b" \t\r"))]
    pieces = []
    for index, line in enumerate(lines):
        try:
            pieces.append(Piece(line, _nth(index, parse(line))))
        except Unreadable as error:
            if not error.detail.startswith("Item "):
                error.detail = f"Item {index}: {error.detail}"
            raise
    return pieces


def _nth(index: int, document: Any) -> dict[str, Any]:
    try:
        return _object(document)
    except Unreadable as error:
        error.detail = f"Item {index}: {error.detail}"
        raise
