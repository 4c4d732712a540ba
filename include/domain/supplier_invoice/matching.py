"""Three-way match: what is invoiced against what was ordered and what was received, line by line.

Pure, and over a whole batch: it is given lines and returns verdicts. An invoice counts as a whole or not at all, and
what one invoice takes is not there for the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from itertools import groupby

from include.data.normalise.text import fold

ZERO = Decimal(0)


class Fault(StrEnum):
    """Why a line does not match."""

    WAITS = "waits"
    """More is invoiced than was received so far, and more is still expected."""
    PRICE = "price"
    QUANTITY = "quantity"
    """More is invoiced than was received, and no more is expected."""
    UNORDERED = "unordered_line"
    UNSUPPORTED = "unsupported"
    """A credit note names no invoice that it corrects, and nothing was sent back."""
    BEYOND = "beyond"
    """More than can ever be invoiced of the line; nobody can accept it."""
    CREDIT_BEYOND = "credit_beyond"
    """More is credited than was invoiced; nobody can accept it."""


FINAL = frozenset({Fault.WAITS, Fault.BEYOND, Fault.CREDIT_BEYOND})
"""What no person can accept away."""


@dataclass(frozen=True)
class OrderLine:
    """A line of an order, with what was counted on it so far.

    :param most: the largest quantity that may be invoiced, whoever accepts what.
    """

    order: int
    line: int
    category: str
    item: str | None
    description: str | None
    quantity: Decimal
    unit_price: Decimal
    most: Decimal
    received: Decimal = ZERO
    returned: Decimal = ZERO
    invoiced: Decimal = ZERO
    credited: Decimal = ZERO
    short_closed: bool = False

    @property
    def there(self) -> Decimal:
        """What was received and not sent back."""
        return self.received - self.returned

    @property
    def expects_more(self) -> bool:
        """Whether more may still be received."""
        return not self.short_closed and self.there < self.quantity


@dataclass(frozen=True)
class InvoiceLine:
    """A line of an invoice or of a credit note; quantities are positive on both.

    :param accepted: a person accepted what differs on this invoice.
    :param corrects: the credit note names a booked invoice.
    """

    case_id: int
    line: int
    order: int
    order_line: int | None
    item: str | None
    description: str | None
    quantity: Decimal
    unit_price: Decimal
    credit: bool = False
    accepted: bool = False
    corrects: bool = False


@dataclass(frozen=True)
class Tolerance:
    """How far an invoice may be off, as shares of the ordered price and of the received quantity."""

    price: Decimal = ZERO
    quantity: Decimal = ZERO


@dataclass(frozen=True)
class Verdict:
    """What came of a line; `matched` and `open` make its quantity.

    :param order_line: the line of the order that it is for, if any.
    :param matched: the quantity that order and receipt cover, or that a person accepted.
    :param counts: the quantity that is counted on the order's line when the invoice goes on.
    :param faults: why it does not match; empty when it does.
    :param accepted: it goes on although it has faults.
    """

    case_id: int
    line: int
    order_line: OrderLine | None
    matched: Decimal
    open: Decimal
    counts: Decimal = ZERO
    faults: tuple[Fault, ...] = ()
    accepted: bool = False

    @property
    def good(self) -> bool:
        """Whether the line may go on."""
        return not self.faults or self.accepted

    @property
    def word(self) -> str:
        """The verdict in a word."""
        faults = ", ".join(self.faults)
        return f"accepted: {faults}" if faults and self.accepted else faults or "matched"


class _Orders:
    """The lines of all orders of a batch, as the invoices before left them."""

    def __init__(self, lines: Iterable[OrderLine]) -> None:
        self.lines = {(line.order, line.line): line for line in lines}
        self._alike: dict[tuple[int, str, str], list[int]] = {}
        for line in self.lines.values():
            for kind, value in (("item", line.item), ("description", line.description)):
                if key := fold(value):
                    self._alike.setdefault((line.order, kind, key), []).append(line.line)

    def candidates(self, line: InvoiceLine) -> list[OrderLine]:
        """The lines of the order that an invoice's line may mean."""
        if line.order_line is not None:
            named = self.lines.get((line.order, line.order_line))
            same = named and not (line.item and named.item and fold(line.item) != fold(named.item))
            return [named] if named and same else []
        for kind, value in (("item", line.item), ("description", line.description)):
            if (key := fold(value)) and (numbers := self._alike.get((line.order, kind, key))):
                return [self.lines[line.order, number] for number in numbers]
        return []


def match_lines(
    order_lines: Iterable[OrderLine], invoice_lines: Iterable[InvoiceLine], tolerances: Mapping[str, Tolerance]
) -> list[Verdict]:
    """Return a verdict for each line, in order; earlier invoices are served first.

    :param tolerances: by category.
    """
    orders = _Orders(order_lines)
    verdicts: list[Verdict] = []
    for _, lines in groupby(
        sorted(invoice_lines, key=lambda line: (line.case_id, line.line)), lambda line: line.case_id
    ):
        before: dict[tuple[int, int], OrderLine] = {}
        found = []
        for line in lines:
            verdict = _best(orders, line, tolerances)
            if verdict.order_line is not None and verdict.counts:
                key = verdict.order_line.order, verdict.order_line.line
                before.setdefault(key, orders.lines[key])
                orders.lines[key] = _after(orders.lines[key], line, verdict.counts)
            found.append(verdict)
        if not all(verdict.good for verdict in found):
            orders.lines.update(before)
        verdicts += found
    return verdicts


def _after(line: OrderLine, by: InvoiceLine, counts: Decimal) -> OrderLine:
    if by.credit:
        return replace(line, credited=line.credited + counts)
    return replace(line, invoiced=line.invoiced + counts)


def _best(orders: _Orders, line: InvoiceLine, tolerances: Mapping[str, Tolerance]) -> Verdict:
    """The verdict against the line of the order that fits best, where several may be meant."""
    candidates = orders.candidates(line)
    if not candidates:
        faults = (Fault.UNORDERED,)
        matched = line.quantity if line.accepted else ZERO
        return Verdict(line.case_id, line.line, None, matched, line.quantity - matched, ZERO, faults, line.accepted)
    judge = _credit if line.credit else _invoice
    verdicts = [judge(line, target, tolerances.get(target.category, Tolerance())) for target in candidates]
    return min(verdicts, key=lambda verdict: (not verdict.good, len(verdict.faults), verdict.open))


def _invoice(line: InvoiceLine, target: OrderLine, tolerance: Tolerance) -> Verdict:
    already = target.invoiced - target.credited
    covered = min(target.there * (1 + tolerance.quantity), target.most)
    faults: list[Fault] = []
    if abs(line.unit_price - target.unit_price) > target.unit_price * tolerance.price:
        faults.append(Fault.PRICE)
    if already + line.quantity > target.most:
        faults.append(Fault.BEYOND)
    elif already + line.quantity > covered:
        faults.append(Fault.WAITS if target.expects_more else Fault.QUANTITY)
    room = max(ZERO, covered - already)
    return _verdict(line, target, faults, room, line.quantity)


def _credit(line: InvoiceLine, target: OrderLine, tolerance: Tolerance) -> Verdict:
    """A credit over less than the price is an allowance: it takes back money, and no quantity."""
    margin = target.unit_price * tolerance.price
    allowance = line.unit_price < target.unit_price - margin
    counts = ZERO if allowance else line.quantity
    faults: list[Fault] = []
    if line.unit_price > target.unit_price + margin:
        faults.append(Fault.PRICE)
    if target.credited + counts > target.invoiced or (allowance and line.quantity > target.invoiced):
        faults.append(Fault.CREDIT_BEYOND)
    elif not line.corrects and (allowance or target.credited + counts > target.returned):
        faults.append(Fault.UNSUPPORTED)
    room = max(ZERO, target.invoiced - target.credited)
    return _verdict(line, target, faults, room, counts)


def _verdict(line: InvoiceLine, target: OrderLine, faults: Sequence[Fault], room: Decimal, counts: Decimal) -> Verdict:
    accepted = bool(faults) and line.accepted and not FINAL.intersection(faults)
    if not faults or accepted:
        return Verdict(line.case_id, line.line, target, line.quantity, ZERO, counts, tuple(faults), accepted)
    matched = ZERO if {Fault.PRICE, Fault.UNSUPPORTED}.intersection(faults) else min(line.quantity, room)
    return Verdict(line.case_id, line.line, target, matched, line.quantity - matched, counts, tuple(faults), False)
