"""How Tryton writes decimals, dates and the like in JSON."""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any


def encode(value: Any) -> Any:
    """Return `value` as Tryton's JSON-RPC wants it."""
    match value:
        case Decimal():
            return {"__class__": "Decimal", "decimal": str(value)}
        case dt.date() if not isinstance(value, dt.datetime):
            return {"__class__": "date", "year": value.year, "month": value.month, "day": value.day}
        case dict():
            return {key: encode(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [encode(inner) for inner in value]
        case _:
            return value


def decode(value: Any) -> Any:
    """Return what Tryton answered in Python's own types."""
    if isinstance(value, list):
        return [decode(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    decoder = _DECODERS.get(str(value.get("__class__")))
    return decoder(value) if decoder else {key: decode(inner) for key, inner in value.items()}


_DECODERS: Mapping[str, Callable[[dict[str, Any]], Any]] = {
    "Decimal": lambda given: Decimal(given["decimal"]),
    "date": lambda given: dt.date(given["year"], given["month"], given["day"]),
    "datetime": lambda given: dt.datetime(**{name: part for name, part in given.items() if name != "__class__"}),
    "timedelta": lambda given: dt.timedelta(seconds=given["seconds"]),
    "bytes": lambda given: base64.b64decode(given["base64"]),
}
