"""Whether a receipt fits its order: the right goods, no more than is tolerated, nothing back that was not there.

Pure: it is given the order's lines as they stand, and moves them as receipts are admitted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Literal

from include.cases.model import Reason
from include.data.normalise.text import fold

ZERO = Decimal(0)


@dataclass(frozen=True)
class Stocked:
    """What the stock must be told of an item of which it tells lots or single pieces apart.

    :param single: every piece has a number of its own; otherwise each lot has one.
    :param expires: each lot has a last day.
    :param days: last days of the lots that are known.
    :param pieces: how many pieces one unit of the order is; None where that cannot be said.
    """

    code: str
    single: bool
    expires: bool
    days: Mapping[str, date]
    pieces: Decimal | None


@dataclass
class OrderLine:
    """A line of an order, with what was counted on it so far.

    :param most: the largest quantity that may be there, tolerance included.
    :param stocked: what the stock must be told of its item; None where it asks for nothing.
    """

    line: int
    item: str | None
    quantity: Decimal
    most: Decimal
    received: Decimal = ZERO
    returned: Decimal = ZERO
    stocked: Stocked | None = None

    @property
    def there(self) -> Decimal:
        """What was received and not sent back."""
        return self.received - self.returned


@dataclass(frozen=True)
class ReceiptLine:
    """A line of a receipt."""

    line: int
    order_line: int | None
    item: str | None
    quantity: Decimal
    damaged: bool = False
    lot: str | None = None
    expires_on: date | None = None


@dataclass
class Admission:
    """What of a receipt counts.

    :param lines: receipt line -> order line and the quantity that counts.
    :param damaged: quantity that came damaged, and does not count.
    :param reasons: why nothing of it counts.
    """

    lines: dict[int, tuple[int, Decimal]] = field(default_factory=dict)
    damaged: Decimal = ZERO
    reasons: list[Reason] = field(default_factory=list)


def admit(
    kind: Literal["delivery", "return"], lines: Sequence[ReceiptLine], order: Mapping[int, OrderLine]
) -> Admission:
    """Admit a receipt as a whole or not at all; what is admitted is counted on `order`."""
    admission = Admission()
    moved: dict[int, Decimal] = {}
    numbers: set[tuple[str, str]] = set()
    for line in lines:
        target = _target(kind, line, order, moved)
        if isinstance(target, Reason):
            admission.reasons.append(target)
            continue
        damaged = line.damaged and kind == "delivery"
        if target.stocked and not damaged and (reason := _lot_fault(kind, line, target.stocked, numbers)):
            admission.reasons.append(reason)
        counts = ZERO if damaged else line.quantity
        admission.damaged += line.quantity if damaged else ZERO
        admission.lines[line.line] = target.line, counts
        moved[target.line] = moved.get(target.line, ZERO) + counts
    for number, quantity in moved.items():
        if reason := _too_much(kind, order[number], quantity):
            admission.reasons.append(reason)
    if not admission.reasons:
        for number, quantity in moved.items():
            if kind == "delivery":
                order[number].received += quantity
            else:
                order[number].returned += quantity
    return admission


def _target(
    kind: str, line: ReceiptLine, order: Mapping[int, OrderLine], moved: Mapping[int, Decimal]
) -> OrderLine | Reason:
    if line.order_line is not None:
        found = order.get(line.order_line)
        same = found and (line.item is None or found.item is None or fold(found.item) == fold(line.item))
        return found if found and same else _wrong(line)
    if line.item is None:
        return next(iter(order.values())) if len(order) == 1 else _wrong(line)
    alike = [candidate for candidate in order.values() if fold(candidate.item) == fold(line.item)]
    for candidate in alike:  # an item that stands on several lines fills them one after the other
        before = moved.get(candidate.line, ZERO) + line.quantity
        room = candidate.most - candidate.there if kind == "delivery" else candidate.there
        if before <= room:
            return candidate
    return alike[-1] if alike else _wrong(line)


def _lot_fault(kind: str, line: ReceiptLine, item: Stocked, numbers: set[tuple[str, str]]) -> Reason | None:
    """Say what the stock would miss of a line, or refuse of it; None when it can take it.

    :param numbers: the serial numbers of the receipt's lines so far; this one is added.
    """
    lot, day = line.lot, line.expires_on
    if lot is None and item.single:
        told = f"every piece of {item.code} has a serial number, and none is named. Write one line for each piece, with"
        return _lot_reason(line, "line.lot", f"{told} its number as lot")
    if lot is None:
        told = f"{item.code} is told apart by lots, and none is named. Write as lot what is on the goods; where several"
        return _lot_reason(line, "line.lot", f"{told} came, a line for each")
    if item.single:
        again = (item.code, lot) in numbers
        numbers.add((item.code, lot))
        if again or (item.pieces is not None and line.quantity * item.pieces != 1):
            told = f"a serial number of {item.code} is of one piece. Write one line for each piece"
            return _lot_reason(line, "line.lot", f"{told}, with its own number as lot")
    known = item.days.get(lot)
    if kind == "delivery" and item.expires and day is None and known is None:
        told = f"each lot of {item.code} has a last day, and that of {lot} is not known"
        return _lot_reason(line, "line.expires_on", f"{told}. Write it as expires_on, such as 2026-12-31")
    if kind == "delivery" and day is not None and known is not None and day != known:
        told = f"the lot {lot} of {item.code} was told to expire on {known}, and not on {day}"
        return _lot_reason(line, "line.expires_on", f"{told}. Correct the lot or the day")
    return None


def _lot_reason(line: ReceiptLine, code: str, told: str) -> Reason:
    return Reason(code, f"Line {line.line}: {told}.", "lines")


def _wrong(line: ReceiptLine) -> Reason:
    named = f"line {line.order_line}" if line.order_line is not None else "no line of the order"
    item = f" and the item {line.item!r}" if line.item else ""
    return Reason(
        "receipt.wrong_item",
        f"Line {line.line} names {named}{item}, which the order does not have like this. Correct the lines when it was"
        " a slip; send goods back that nobody ordered, and discard the receipt.",
        "lines",
    )


def _too_much(kind: str, line: OrderLine, quantity: Decimal) -> Reason | None:
    if kind == "delivery" and line.there + quantity > line.most:
        return Reason(
            "receipt.over_tolerance",
            f"Order line {line.line}: {_n(line.there)} of {_n(line.quantity)} are there, and {_n(quantity)} more would"
            f" be over the {_n(line.most)} that are tolerated. Correct the quantity to what is kept, and send back the"
            " rest.",
            "lines",
        )
    if kind == "return" and quantity > line.there:
        return Reason(
            "receipt.over_returned",
            f"Order line {line.line}: {_n(quantity)} cannot go back, as {_n(line.there)} are there. Correct the lines;"
            " goods that were refused as damaged were never counted, and need no return.",
            "lines",
        )
    return None


def _n(quantity: Decimal) -> str:
    return f"{quantity.normalize():f}"
