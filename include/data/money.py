"""Money: decimal amounts, the currencies of ISO 4217 and their minor units, rounding and splitting.

No float is ever taken. Exchange rates are rates.py's part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from functools import cache

from iso4217 import Currency

WHOLE_DIGITS = 15
"""Digits before the point that an amount may have; more is a mistake, and fits no column."""
DECIMALS = 10
"""Digits behind the point that an amount may have, zeros at its end not counted."""
LONGEST = 60
"""Characters of a written amount that are looked at."""
_PRECISION = 80  # digits of a computation: two of the longest amounts multiplied, with room
_WRITTEN = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")


class AmountInvalid(ValueError):
    """What was given is no amount, or none that can be right."""


class CurrencyUnknown(ValueError):
    """A code is no currency of ISO 4217 that anything is paid in."""


@dataclass(frozen=True)
class Money:
    """An amount of a currency, as exact as that currency is."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        if self.amount != round_to(self.amount, self.currency):
            raise AmountInvalid(f"{self.amount:f} has more decimals than {self.currency} has")

    def __add__(self, other: Money) -> Money:
        return Money(self.amount + self._same(other), self.currency)

    def __sub__(self, other: Money) -> Money:
        return Money(self.amount - self._same(other), self.currency)

    def __str__(self) -> str:
        return f"{round_to(self.amount, self.currency):,f} {self.currency}"

    def _same(self, other: Money) -> Decimal:
        if other.currency != self.currency:
            raise CurrencyUnknown(f"{self.currency} and {other.currency} are added only after a conversion")
        return other.amount


def known(currency: str) -> bool:
    """Whether something can be paid in a currency; metals, test codes and withdrawn currencies are none."""
    return _minor_units(currency) is not None


def minor_units(currency: str) -> int:
    """Return how many decimals a currency has by ISO 4217. CurrencyUnknown when it is none."""
    units = _minor_units(currency)
    if units is None:
        raise CurrencyUnknown(f"{currency[:20]!r} is no currency of ISO 4217; write its three letters, like EUR")
    return units


@cache
def _units_by_code() -> dict[str, int]:
    return {each.code: each.exponent for each in Currency if each.exponent is not None}


def _minor_units(currency: str) -> int | None:
    return _units_by_code().get(currency)


def parse_amount(value: str | int | Decimal) -> Decimal:
    """Return the amount that `value` writes: ASCII digits with a point, as `-1234.50`. AmountInvalid when it is none.

    A comma is refused, because 1,234 is two amounts; so is a float, because it has lost digits already.
    """
    if isinstance(value, Decimal):
        amount = value
    elif isinstance(value, int) and not isinstance(value, bool):
        amount = Decimal(value)
    elif isinstance(value, str):
        amount = _written(value)
    else:
        raise AmountInvalid(f"{type(value).__name__} is no amount; write it as text, like 1234.50")
    return _within(amount)


def _written(value: str) -> Decimal:
    written = value.strip(" \t\r\n")
    if len(written) > LONGEST or not _WRITTEN.fullmatch(written):
        raise AmountInvalid(f"{written[:20]!r} is no amount; write it as 1234.50, without separators of thousands")
    return Decimal(written)


def _within(amount: Decimal) -> Decimal:
    """Refuse what is not finite, too large or too fine. Nothing is computed before the exponent is known to be sane."""
    if not amount.is_finite():
        raise AmountInvalid("an amount is a finite number")
    if not amount:
        return Decimal(0) if _exponent(amount) < -DECIMALS or _exponent(amount) > 0 else abs(amount)
    if amount.adjusted() >= WHOLE_DIGITS:
        raise AmountInvalid(f"an amount has at most {WHOLE_DIGITS} digits before the point")
    digits = amount.as_tuple().digits
    trailing = next(place for place, digit in enumerate(reversed(digits)) if digit)
    if -(_exponent(amount) + trailing) > DECIMALS:
        raise AmountInvalid(f"an amount has at most {DECIMALS} digits behind the point")
    with localcontext(prec=_PRECISION):
        if _exponent(amount) < -DECIMALS:
            return amount.quantize(Decimal(1).scaleb(-DECIMALS))
        return amount.quantize(Decimal(1)) if _exponent(amount) > 0 else amount


def _exponent(amount: Decimal) -> int:
    exponent = amount.as_tuple().exponent
    return exponent if isinstance(exponent, int) else 0


def round_to(amount: Decimal, currency: str) -> Decimal:
    """Round to a currency's minor units, halves away from zero as invoices do it: 0.125 EUR is 0.13 EUR."""
    units = minor_units(currency)
    if not isinstance(amount, Decimal) or not amount.is_finite() or amount.adjusted() >= _PRECISION // 2:
        raise AmountInvalid("only a finite Decimal of a sane size can be rounded")
    with localcontext(prec=_PRECISION):
        return amount.quantize(Decimal(1).scaleb(-units), ROUND_HALF_UP)


def split(total: Decimal, weights: Sequence[Decimal | int]) -> list[Decimal]:
    """Split a rounded total by weights, in its own last digit; the parts sum to the total exactly.

    What the division leaves goes to the largest remainders, the earlier part first.
    """
    if not isinstance(total, Decimal) or not all(isinstance(weight, Decimal | int) for weight in weights):
        raise AmountInvalid("a total and its weights are Decimals")
    total = _within(total)
    shares = [Fraction(_within(Decimal(weight))) for weight in weights]
    whole = sum(shares, Fraction(0))
    if whole <= 0 or min(shares) < 0:
        raise ValueError("a total is split by weights of which none is negative and one at least is not zero")
    exponent = min(_exponent(total), 0)
    units = abs(int(total.scaleb(-exponent)))
    exact = [units * share / whole for share in shares]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda place: (parts[place] - exact[place], place))
    for place in by_remainder[: units - sum(parts)]:
        parts[place] += 1
    return [(Decimal(part) if total >= 0 else -Decimal(part)).scaleb(exponent) for part in parts]
