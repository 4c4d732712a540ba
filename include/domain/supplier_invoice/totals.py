"""Whether an invoice adds up: its lines, its tax, its totals.

Pure. What the head of the invoice says is what is paid; lines are rounded by everybody in their own way, so that each
of them may be off by one minor unit, and the largest takes the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from include.cases.model import Reason
from include.data.money import minor_units, round_to


@dataclass(frozen=True)
class Line:
    """A line of an invoice; amounts are positive on a credit note, too."""

    order_line: int | None
    item: str | None
    description: str | None
    quantity: Decimal
    unit_price: Decimal
    tax_rate: Decimal
    net: Decimal = Decimal(0)
    tax: Decimal = Decimal(0)


@dataclass(frozen=True)
class Claimed:
    """The totals at the invoice's head; None where it does not say."""

    net: Decimal | None
    tax: Decimal | None
    gross: Decimal | None


@dataclass(frozen=True)
class Totals:
    """Lines and totals that agree to the last minor unit."""

    lines: list[Line]
    net: Decimal
    tax: Decimal

    @property
    def gross(self) -> Decimal:
        """What is paid."""
        return self.net + self.tax


def add_up(lines: Sequence[Line], claimed: Claimed, currency: str) -> Totals | Reason:
    """Compute the lines' amounts, and compare their sums with what the head claims."""
    unit = Decimal(1).scaleb(-minor_units(currency))
    said = [amount for amount in (claimed.net, claimed.tax, claimed.gross) if amount is not None]
    if any(amount != round_to(amount, currency) for amount in said):
        message = f"A total has more decimals than {currency} has. Correct it."
        return Reason("invoice.totals", message, "gross")
    computed = [_amounts(line, currency) for line in lines]
    sum_net = sum((line.net for line in computed), Decimal(0))
    sum_tax = sum((line.tax for line in computed), Decimal(0))
    net, tax = _resolve(claimed, sum_net, sum_tax)
    if claimed.gross is not None and net + tax != claimed.gross:
        return Reason(
            "invoice.totals",
            f"Net {net} and tax {tax} make {net + tax}, and the invoice says {claimed.gross}. Correct what was misread,"
            " or ask the supplier for a right invoice and discard this one.",
            "gross",
        )
    most = unit * len(lines)
    for name, total, total_of_lines in (("net", net, sum_net), ("tax", tax, sum_tax)):
        if abs(total - total_of_lines) > most:
            return Reason(
                "invoice.lines",
                f"The lines make {total_of_lines} {name}, and the invoice says {total}. Correct what was misread, or"
                " ask the supplier for a right invoice and discard this one.",
                "lines",
            )
    return Totals(_level(computed, net - sum_net, tax - sum_tax), net, tax)


def _amounts(line: Line, currency: str) -> Line:
    net = round_to(line.quantity * line.unit_price, currency)
    return replace(line, net=net, tax=round_to(net * line.tax_rate, currency))


def _resolve(claimed: Claimed, sum_net: Decimal, sum_tax: Decimal) -> tuple[Decimal, Decimal]:
    """Net and tax as claimed, or as they follow from what is claimed, or as the lines make them."""
    net, tax, gross = claimed.net, claimed.tax, claimed.gross
    if net is None:
        net = gross - tax if gross is not None and tax is not None else sum_net
    if tax is None:
        tax = gross - net if gross is not None else sum_tax
    return net, tax


def _level(lines: list[Line], net: Decimal, tax: Decimal) -> list[Line]:
    """Put what rounding left over on the largest line, so that the lines make the totals exactly."""
    if net:
        place = max(range(len(lines)), key=lambda number: abs(lines[number].net))
        lines[place] = replace(lines[place], net=lines[place].net + net)
    if tax:
        place = max(range(len(lines)), key=lambda number: (abs(lines[number].tax), abs(lines[number].net)))
        lines[place] = replace(lines[place], tax=lines[place].tax + tax)
    return lines
