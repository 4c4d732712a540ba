"""The formulas give what textbooks give, and what is ordered always suffices and can be ordered."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.domain.replenishment.formulas import (
    order_quantity,
    order_up_to,
    reorder_point,
    safety_factor,
    safety_stock,
)


@pytest.mark.parametrize(
    ("level", "demand", "lead_time", "point", "tolerance"),
    [
        # Heizer, Render and Munson, Operations Management, ch. 12, probabilistic models: demand varies (15 a day, sd 5,
        # 2 days, 90 %: 39), lead time varies (10 a day, 6 days, sd 3, 98 %: 121.65), both vary (150 a day, sd 16,
        # 5 days, sd 1, 95 %: 1,004). The book rounds z to two places.
        (0.90, (15, 5), (2, 0), 39, 0.1),
        (0.98, (10, 0), (6, 3), 121.65, 0.1),
        (0.95, (150, 16), (5, 1), 1004, 1),
        # Stevenson, Operations Management, ch. 13: 50 jars a week, sd 3, 2 weeks, a stock-out risk of 10 %: 105.43
        (0.90, (50, 3), (2, 0), 105.43, 0.02),
        # nothing varies: the demand of the lead time alone
        (0.99, (8, 0), (5, 0), 40, 1e-9),
    ],
)
def test_reorder_points_of_textbooks(
    level: float, demand: tuple[float, float], lead_time: tuple[float, float], point: float, tolerance: float
) -> None:
    columns = [np.array([float(value)]) for value in (*demand, *lead_time)]
    safety = safety_stock(safety_factor([level]), *columns)
    assert reorder_point(columns[0], columns[2], safety)[0] == pytest.approx(point, abs=tolerance)


def test_the_safety_factor_is_the_normal_quantile() -> None:
    assert safety_factor([Decimal("0.5"), 0.95, "0.99"]) == pytest.approx([0, 1.644854, 2.326348], abs=1e-6)


def test_an_order_fills_up_for_the_review_period() -> None:
    assert order_up_to(np.array([76.0]), np.array([5.0]), np.array([7.0])) == pytest.approx([111])


def test_columns_are_computed_at_once() -> None:
    many = np.full(50_000, 4.0)
    assert safety_stock(safety_factor([0.95] * 50_000), many, many, many, many).shape == (50_000,)


@pytest.mark.parametrize(
    ("missing", "more", "ordered"),
    [
        ("61.08", {}, "62"),
        ("61.08", {"multiple": "25"}, "75"),
        ("61.08", {"least": "100"}, "100"),
        ("61.08", {"least": "90", "multiple": "25"}, "100"),
        ("61.08", {"decimals": 2}, "61.08"),
        ("61.0800001", {"decimals": 2}, "61.08"),
        ("0.3", {"multiple": "0.25", "decimals": 2}, "0.50"),
        ("0", {"least": "100"}, "0"),
        ("-5", {"least": "100"}, "0"),
        ("0.0000001", {"multiple": "12"}, "0"),
    ],
)
def test_quantities(missing: str, more: dict[str, object], ordered: str) -> None:
    values = {name: Decimal(value) if isinstance(value, str) else value for name, value in more.items()}
    assert order_quantity(Decimal(missing), **values) == Decimal(ordered)  # type: ignore[arg-type]


AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=6, allow_nan=False, allow_infinity=False)
STEPS = st.none() | st.decimals(min_value="0.000001", max_value=10_000, places=6, allow_nan=False)


@given(missing=AMOUNTS, least=AMOUNTS, multiple=STEPS, decimals=st.integers(0, 6))
def test_never_less_than_is_missing_and_always_whole_packs(
    missing: Decimal, least: Decimal, multiple: Decimal | None, decimals: int
) -> None:
    ordered = order_quantity(missing, least=least, multiple=multiple, decimals=decimals)
    step = multiple or Decimal(1).scaleb(-decimals)
    assert ordered % step == 0
    if missing == 0:
        assert ordered == 0
    else:
        assert ordered >= max(missing, least)
        assert ordered - step < max(missing, least), "a pack more than needed"
