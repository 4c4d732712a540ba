"""What Waybill's balances and the ERP's differ by; pure.

What moves at this moment is left out: its movement may be on one side only. So are items that Waybill does not stock.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

ZERO = Decimal(0)


class Spot(NamedTuple):
    """An item at a location."""

    item: str
    location: str


@dataclass(frozen=True, slots=True)
class Line:
    """How much there is on both sides; of one lot where the ERP knows lots, of all of them otherwise."""

    item: str
    location: str
    lot: str
    waybill: Decimal
    erp: Decimal

    @property
    def spot(self) -> Spot:
        """Where it is."""
        return Spot(self.item, self.location)

    @property
    def difference(self) -> Decimal:
        """What the ERP has more."""
        return self.erp - self.waybill


@dataclass(frozen=True)
class Books:
    """Waybill's balances at an instant.

    :param there: what is at each spot, by lot; nothing is left out but nought.
    :param items: all items that Waybill stocks.
    :param moving: items of which something is posted, or received in the ERP, and not yet on both sides.
    """

    there: Mapping[Spot, Mapping[str, Decimal]]
    items: Set[str]
    moving: Set[str]


@dataclass
class Comparison:
    """What came of it.

    :param lines: where the sides differ, by spot.
    :param compared: how many spots were compared.
    :param moving: spots that were not, as something moves there.
    :param foreign: items that only the ERP knows.
    """

    lines: dict[Spot, list[Line]] = field(default_factory=dict)
    compared: int = 0
    moving: set[Spot] = field(default_factory=set)
    foreign: set[str] = field(default_factory=set)


def compare(before: Books, stock: Iterable[Mapping[str, Any]], after: Books) -> Comparison:
    """Compare the ERP's stock with the balances just before and just after it was read.

    :param stock: item, location, lot and quantity of everything that the ERP has.
    """
    theirs: dict[Spot, dict[str, Decimal]] = defaultdict(dict)
    result = Comparison()
    for row in stock:
        if row["item"] not in after.items:
            result.foreign.add(row["item"])
            continue
        lots = theirs[Spot(row["item"], row["location"])]
        lots[row["lot"] or ""] = lots.get(row["lot"] or "", ZERO) + Decimal(str(row["quantity"]))
    for spot in sorted({*before.there, *after.there, *theirs}):
        ours = after.there.get(spot, {})
        if spot.item in before.moving | after.moving or before.there.get(spot, {}) != ours:
            result.moving.add(spot)
            continue
        result.compared += 1
        if lines := _differing(spot, ours, theirs.get(spot, {})):
            result.lines[spot] = lines
    return result


def _differing(spot: Spot, ours: Mapping[str, Decimal], theirs: Mapping[str, Decimal]) -> list[Line]:
    if "" in theirs and any(ours):  # the ERP keeps no lots of it, or not of all: only the sums can be compared
        ours, theirs = {"": sum(ours.values(), ZERO)}, {"": sum(theirs.values(), ZERO)}
    lines = [Line(*spot, lot, ours.get(lot, ZERO), theirs.get(lot, ZERO)) for lot in sorted({*ours, *theirs})]
    return [line for line in lines if line.difference]
