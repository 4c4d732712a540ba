"""Quantities come into the base unit exactly, or not at all."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.stock.items import Inexact, Item, UnitUnknown, to_base

NUTS = Item("NUT", "Nuts", "material", "pcs", units={"box": Fraction(250), "third": Fraction(1, 3)})
FLOUR = Item("FLOUR", "Flour", "goods", "kg", decimals=3, units={"sack": Fraction("22.5"), "third": Fraction(1, 3)})


@pytest.mark.parametrize(
    ("item", "quantity", "unit", "base"),
    [
        (NUTS, "3", None, "3"),
        (NUTS, "3.000", "pcs", "3"),
        (NUTS, "0.5", "box", "125"),
        (NUTS, "2", "dozen", "24"),
        (NUTS, "-1", "box", "-250"),
        (NUTS, "6", "third", "2"),
        (FLOUR, "1", "g", "0.001"),
        (FLOUR, "0.0005", "t", "0.5"),
        (FLOUR, "3", "sack", "67.5"),
        (FLOUR, "3", "third", "1"),
        (FLOUR, "1E+2", "kg", "100"),
    ],
)
def test_a_quantity_in_its_base_unit(item: Item, quantity: str, unit: str | None, base: str) -> None:
    assert to_base(item, Decimal(quantity), unit) == Decimal(base)


@pytest.mark.parametrize(
    ("item", "quantity", "unit"),
    [(NUTS, "1.5", None), (NUTS, "1", "third"), (NUTS, "0.001", "box"), (FLOUR, "1", "third"), (FLOUR, "0.5", "g")],
)
def test_what_is_not_exact_is_refused_and_not_rounded(item: Item, quantity: str, unit: str | None) -> None:
    with pytest.raises(Inexact, match=f"{item.code} is not exact in {item.unit}"):
        to_base(item, Decimal(quantity), unit)


def test_an_unknown_unit_says_what_the_item_is_counted_in() -> None:
    with pytest.raises(UnitUnknown, match="NUT is counted in pcs, box, third, not in 'kg'"):
        to_base(NUTS, Decimal(1), "kg")


def test_an_item_s_own_unit_goes_before_the_general_one() -> None:
    baker = Item("ROLL", "Rolls", "goods", "pcs", units={"dozen": Fraction(13)})
    assert to_base(baker, Decimal(2), "dozen") == 26


@given(
    st.decimals(-(10**9), 10**9, places=4),
    st.fractions(Fraction(1, 1000), 1000, max_denominator=1000),
    st.integers(0, 6),
)
def test_it_is_exact_or_refused(quantity: Decimal, factor: Fraction, decimals: int) -> None:
    item = Item("X", "X", "goods", "pcs", decimals=decimals, units={"own": factor})
    exact = Fraction(quantity) * factor
    try:
        base = to_base(item, quantity, "own")
    except Inexact:
        assert (exact * 10**decimals).denominator != 1
    else:
        assert Fraction(base) == exact
