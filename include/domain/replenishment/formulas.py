"""When to order and how much: safety stock, reorder point, order-up-to level, and the quantity that can be ordered.

Safety stock covers demand and lead time that both vary, taken as independent:

    sigma = sqrt(L * sd_d^2 + d^2 * sd_L^2),   safety stock = z * sigma,   reorder point = d * L + safety stock

with d and sd_d the mean and the standard deviation of demand a day, L and sd_L those of the lead time in days, and z
the quantile of the standard normal distribution at the service level: the share of order cycles without a shortage.
Source: Silver, Pyke and Thomas, Inventory and Production Management in Supply Chains, 4th ed. (CRC Press 2017), chapter
6, where the lead time itself varies; the same as P. L. King, Crack the Code: Understanding Safety Stock and Mastering
Its Equations, APICS magazine, July/August 2011.

Pure. The statistics are floats and columns, so that fifty thousand places are one call; what is ordered is a Decimal.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_CEILING, Decimal
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMULA = "normal-lead-time-demand/1"
"""Kept with the figures of every need; a formula that computes otherwise gets another id."""
EXACT = Decimal("0.000001")
"""To this a level is rounded before it is compared: what floats add beyond it is no demand."""

Column = NDArray[np.float64]


def safety_factor(service_levels: Iterable[Any]) -> Column:
    """Return z for each service level, a share from 0.5 up to below 1."""
    levels = [float(level) for level in service_levels]
    known = {level: NormalDist().inv_cdf(level) for level in set(levels)}
    return np.array([known[level] for level in levels], dtype=np.float64)


def safety_stock(z: Column, demand: Column, demand_sd: Column, lead_time: Column, lead_time_sd: Column) -> Column:
    """Return the stock that covers what varies, in base units; demand a day, lead times in days."""
    return np.asarray(z * np.sqrt(lead_time * demand_sd**2 + demand**2 * lead_time_sd**2), dtype=np.float64)


def reorder_point(demand: Column, lead_time: Column, safety: Column) -> Column:
    """Return the position at or below which is ordered: what is used until the order comes, and the safety stock."""
    return np.asarray(demand * lead_time + safety, dtype=np.float64)


def order_up_to(point: Column, demand: Column, review_days: Column) -> Column:
    """Return the level that an order fills up to where no maximum is given: the demand of a review period on top."""
    return np.asarray(point + demand * review_days, dtype=np.float64)


def order_quantity(
    missing: Decimal, *, least: Decimal = Decimal(0), multiple: Decimal | None = None, decimals: int = 0
) -> Decimal:
    """Return what is ordered so that nothing of `missing` is left: never less, at least `least`, in whole multiples.

    :param missing: order-up-to level less position, in base units; where nothing is missing, nothing is ordered.
    :param multiple: packs of this many base units; it goes over a maximum rather than leave something missing.
    :param decimals: of the item's base unit; they do not apply to a multiple that has more.
    """
    wanted = missing.quantize(EXACT)
    if wanted <= 0:
        return Decimal(0)
    step = multiple or Decimal(1).scaleb(-decimals)
    return (max(wanted, least) / step).to_integral_value(ROUND_CEILING) * step
