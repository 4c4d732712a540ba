"""Reads the lines of requests, hundreds of thousands at a time: codes, quantities in base units, lots, costs, moments.

Pure. A line that cannot be read keeps the code of its fault; what becomes of it is the step `validate`'s part.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from include.data.money import AmountInvalid, parse_amount
from include.data.normalise.text import given
from include.data.normalise.values import moment
from include.domain.stock_request.feeds import Feed
from include.domain.stock_request.kinds import Kind
from include.stock.items import Inexact, Item, UnitUnknown, to_base
from include.stock.warehouse import warehouse

LARGEST = Decimal(10) ** 12
"""No quantity and no cost reaches it: beyond it something was misread."""
DECIMALS = 6
REJECTED = "rejected"
ROW = "row"
"""The field of a line that says in which row of a file it stands."""
_ANY = Feed(title="Everything else", location="")


class Line(NamedTuple):
    """One line; the columns of `stock_request_lines` of the same names.

    :param quantity: in the item's base unit; None where it is not known, and in a count.
    :param unit_cost: of one base unit.
    :param reason: code of what keeps it from being read.
    """

    line: int
    item: str | None
    sent_quantity: Decimal | None
    unit: str | None
    quantity: Decimal | None
    lot: str
    expires_on: date | None
    unit_cost: Decimal | None
    counted: Decimal | None
    occurred_at: datetime | None
    note: str | None
    verdict: str | None
    reason: str | None


_UNREADABLE = Line(0, None, None, None, None, "", None, None, None, None, None, None, "line.unreadable")


def code_of(entry: Mapping[str, Any], items: Mapping[str, Item]) -> str | None:
    """Return the code of a line's item, as it is known: with capitals where the one that is written is not."""
    code = clean(entry.get("item"))
    if code is None or code in items:
        return code
    upper = code.upper()
    return upper if upper in items else code


def clean(value: Any) -> str | None:
    """Return a text as one clean line; None where nothing was given."""
    if value is None:
        return None
    return _clean(value) if type(value) is str else given(value)


_clean = lru_cache(200_000)(given)


def numbered(entries: Sequence[Any]) -> Iterable[tuple[int, Any]]:
    """Return lines as they were sent with their numbers: in a file that of the row, else their place."""
    rows: list[Any] = [entry.get(ROW) if isinstance(entry, dict) else None for entry in entries]
    if len(set(rows)) == len(rows) and all(type(row) is int and 0 < row < 2**31 for row in rows):
        return zip(rows, entries, strict=True)
    return enumerate(entries, 1)


class Reader:
    """Reads lines against the items that there are; what was worked out once is not worked out again."""

    def __init__(self, items: Mapping[str, Item]) -> None:
        self._items = items
        self._in_base: dict[tuple[str, Decimal, str | None], tuple[Decimal | None, str | None]] = {}
        self._zone = warehouse().zone.key

    def read(self, entries: Sequence[Any], kind: Kind | None, *, counted: bool, feed: Feed | None) -> Iterator[Line]:
        """Yield every line with its number, in a file that of its row; never raises for anything a sender can send."""
        seen: set[tuple[Any, ...]] = set()
        for number, entry in numbered(entries):
            if not isinstance(entry, dict):
                yield _UNREADABLE._replace(line=number)
                continue
            line = self._line(number, entry, kind, counted, feed)
            if feed is not None:
                said = tuple([str(value) for name, value in entry.items() if name != ROW])
                if feed.duplicates == "reject" and said in seen:
                    line = line._replace(verdict=REJECTED, reason="line.duplicate")
                seen.add(said)
            yield line

    def _line(self, number: int, entry: Mapping[str, Any], kind: Kind | None, counted: bool, feed: Feed | None) -> Line:
        code = code_of(entry, self._items)
        sent, fault = _number(entry.get("quantity"), "quantity")
        unit = clean(entry.get("unit"))
        item = self._items.get(code) if code else None
        quantity = None
        if sent is not None and fault is None:
            fault = _sign_fault(sent, kind, counted, feed)
            if feed is not None and kind is not None and not kind.takes and not kind.signed:
                sent = abs(sent)  # what a till takes back stands on its receipt with a minus
            if item is not None and fault is None:
                quantity, fault = self._base(item, sent, unit)
        cost, at, expires = None, None, None
        if (value := entry.get("unit_cost")) is not None:
            cost, unreadable = _number(value, "unit_cost")
            fault = fault or (unreadable if unreadable != "unit_cost.missing" else None)
            if cost is not None and sent and quantity:  # it is told of one of the unit that the line is written in
                cost = round(cost * sent / quantity, DECIMALS)
        if (value := entry.get("occurred_at")) is not None:
            at = self.moment(value, feed)
            fault = fault or ("occurred_at.unreadable" if at is None and clean(value) else None)
        if (value := entry.get("expires_on")) is not None:
            expires = _day(value)
            fault = fault or ("lot.expires_on" if expires is None and clean(value) else None)
        verdict = None
        if code is None:
            fault = "item.missing"
        elif feed is not None and not feed.stocks(code):
            fault, verdict = "item.not_stocked", REJECTED
        lot, note = clean(entry.get("lot")), clean(entry.get("note"))
        return Line(
            number,
            code and code[:100],
            sent,
            unit and unit[:50],
            None if counted else quantity,
            (lot or "")[:100],
            expires,
            cost,
            quantity if counted else None,
            at,
            note and note[:1000],
            verdict,
            fault,
        )

    def moment(self, value: Any, feed: Feed | None) -> datetime | None:
        """Read a moment; one without a zone is meant as the clocks of the warehouse show it, or as the feed says."""
        written = clean(value)
        if written is None:
            return None
        return (feed or _ANY).moment(written, self._zone) or moment(written)

    def _base(self, item: Item, sent: Decimal, unit: str | None) -> tuple[Decimal | None, str | None]:
        """A quantity in the item's base unit, or why it has none there."""
        key = (item.code, sent, unit)
        found = self._in_base.get(key)
        if found is None:
            found = self._in_base[key] = _converted(item, sent, unit)
        return found


def _converted(item: Item, sent: Decimal, unit: str | None) -> tuple[Decimal | None, str | None]:
    try:
        try:
            quantity = to_base(item, sent, unit)
        except UnitUnknown:
            quantity = to_base(item, sent, (unit or "").lower())
    except UnitUnknown:
        return None, "unit.unknown"
    except Inexact:
        return None, "quantity.decimals" if unit in (None, item.unit) else "unit.inexact"
    return (quantity, None) if abs(quantity) < LARGEST else (None, "quantity.too_large")


def _sign_fault(sent: Decimal, kind: Kind | None, counted: bool, feed: Feed | None) -> str | None:
    """What is wrong with a quantity's sign; a count may find nothing, and an adjustment takes away."""
    if counted:
        return "quantity.negative" if sent < 0 else None
    if not sent:
        return "quantity.zero"
    if sent > 0 or kind is None or kind.signed:
        return None
    if feed is not None and not kind.takes:
        return None
    return "quantity.negative"


def _number(value: Any, field: str) -> tuple[Decimal | None, str | None]:
    """A number as it is written, or why there is none."""
    if type(value) is int or type(value) is str:
        return _parsed(value, field)
    if isinstance(value, float):  # a person's correction is JSON; its shortest notation is what was typed
        return _parsed(repr(value), field)
    return None, f"{field}.missing" if value is None else f"{field}.unreadable"


@lru_cache(50_000, typed=True)
def _parsed(value: int | str, field: str) -> tuple[Decimal | None, str | None]:
    if isinstance(value, str) and not value.strip():
        return None, f"{field}.missing"
    try:
        number = parse_amount(value)
    except AmountInvalid:
        return None, f"{field}.unreadable"
    if abs(number) >= LARGEST:
        return None, f"{field}.too_large"
    return (number, None) if round(number, DECIMALS) == number else (None, f"{field}.decimals")


def _day(value: Any) -> date | None:
    at = moment(value)
    return at.date() if at else None
