"""Journal entries of an invoice: expense by line and cost centre, input tax by rate, and what is owed.

Pure double entry. Debit and credit of a document are equal to the cent, in its own currency and in the company's; what
conversion leaves over is on the largest entry. A credit note is the same, with the sides exchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from include.data.money import round_to
from include.domain.purchasing import Purchasing

ZERO = Decimal(0)


@dataclass(frozen=True)
class BookedLine:
    """A line of an invoice, with the account that it is posted to."""

    account: str
    cost_centre: str | None
    tax_rate: Decimal
    net: Decimal
    tax: Decimal


@dataclass(frozen=True)
class Booking:
    """What is booked: an invoice or a credit note, in its own currency.

    :param rate: one unit of `currency` is so many of the company's.
    """

    credit_note: bool
    currency: str
    rate: Decimal
    lines: Sequence[BookedLine]


@dataclass(frozen=True)
class Entry:
    """One line of the journal; positive amounts are debit, negative ones credit.

    :param amount: in the company's currency.
    :param document_amount: in the document's.
    """

    account: str
    amount: Decimal
    document_amount: Decimal
    cost_centre: str | None = None
    tax_code: str | None = None

    @property
    def debit(self) -> Decimal:
        """The debit side; zero when it is on the other one."""
        return max(self.amount, ZERO)

    @property
    def credit(self) -> Decimal:
        """The credit side; zero when it is on the other one."""
        return max(-self.amount, ZERO)


class NoTaxAccount(LookupError):
    """The company has no account for a rate of input tax."""


def entries(booking: Booking, known: Purchasing) -> list[Entry]:
    """Return the journal entries of a document; none when nothing is owed for it.

    :raises NoTaxAccount: when a line's tax rate is not among the company's.
    """
    drafts = [
        _draft(booking, known, line.account, line.net, tax_rate=line.tax_rate, cost_centre=line.cost_centre)
        for line in booking.lines
    ]
    by_rate: dict[Decimal, Decimal] = {}
    for line in booking.lines:
        by_rate[line.tax_rate] = by_rate.get(line.tax_rate, ZERO) + line.tax
    drafts += [
        _draft(booking, known, _tax(known, rate)[0], tax, tax_rate=rate) for rate, tax in sorted(by_rate.items())
    ]
    gross = sum((entry.document_amount for entry in drafts), ZERO)
    balanced = _balanced(drafts, _draft(booking, known, known.payable_account, -gross))
    if booking.credit_note:
        return [replace(entry, amount=-entry.amount, document_amount=-entry.document_amount) for entry in balanced]
    return balanced


def _draft(
    booking: Booking,
    known: Purchasing,
    account: str,
    amount: Decimal,
    *,
    tax_rate: Decimal | None = None,
    cost_centre: str | None = None,
) -> Entry:
    converted = round_to(amount * booking.rate, known.company.currency)
    code = None if tax_rate is None else _tax(known, tax_rate)[1]
    return Entry(account, converted, amount, cost_centre, code)


def _tax(known: Purchasing, rate: Decimal) -> tuple[str, str]:
    tax = known.tax(rate)
    if tax is None:
        raise NoTaxAccount(f"purchasing.yaml names no account for the tax rate {rate}")
    return tax.account, tax.code


def _balanced(posted: list[Entry], payable: Entry) -> list[Entry]:
    """Put what conversion left over on the largest entry, and drop entries that are nothing.

    Of a document that is worth next to nothing, what is owed is what its entries make.
    """
    largest = max(range(len(posted)), key=lambda number: abs(posted[number].amount))
    left = -payable.amount - sum((entry.amount for entry in posted), ZERO)
    adjusted = posted[largest].amount + left
    if payable.amount and adjusted:
        posted[largest] = replace(posted[largest], amount=adjusted)
    else:
        payable = replace(payable, amount=-sum((entry.amount for entry in posted), ZERO))
    kept = [entry for entry in (*posted, payable) if entry.amount]
    if kept:
        lost = sum((entry.document_amount for entry in (*posted, payable) if not entry.amount), ZERO)
        place = max(range(len(kept)), key=lambda number: abs(kept[number].amount))
        kept[place] = replace(kept[place], document_amount=kept[place].document_amount + lost)
    return kept
