"""Classes by Pareto's rule."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.stock.abc import Shares, classes


def _values(**values: int) -> dict[str, Decimal]:
    return {item: Decimal(value) for item, value in values.items()}


def test_the_item_that_reaches_a_share_belongs_to_it() -> None:
    found = classes(_values(lamp=70, saw=15, flour=8, bolt=4, nut=3))
    assert found == {"lamp": "A", "saw": "A", "flour": "B", "bolt": "B", "nut": "C"}


def test_what_is_not_consumed_is_c() -> None:
    assert classes(_values(lamp=10, back=-5, dead=0)) == {"lamp": "A", "back": "C", "dead": "C"}
    assert classes(_values(dead=0)) == {"dead": "C"}
    assert classes({}) == {}


def test_shares_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.80 and 0\.95"):
        Shares(Decimal("0.95"), Decimal("0.80"))


@given(st.dictionaries(st.text(min_size=1, max_size=4), st.integers(-10, 10_000).map(Decimal), max_size=40))
def test_a_makes_up_its_share_with_as_few_items_as_can_be(values: dict[str, Decimal]) -> None:
    found = classes(values)
    assert found.keys() == values.keys()
    whole = sum(value for value in values.values() if value > 0)
    in_a = [values[item] for item, name in found.items() if name == "A"]
    if whole:
        assert sum(in_a) >= Decimal("0.80") * whole
        assert sum(in_a) - min(in_a) < Decimal("0.80") * whole
        others = [values[item] for item, name in found.items() if name != "A"]
        assert not others or max(others) <= min(in_a)
