"""Who gets what of stock that does not suffice for everybody: lines in order of arrival, lots in order of expiry.

Pure; whoever calls holds the balances, so that what is given here is still there when it is posted.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from include.stock.ledger import Balance, Place

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class Demand:
    """A line that takes stock from one place to another.

    :param quantity: in the item's base unit, above zero.
    :param lot: the lot that it takes; '' for items without lots; None for whichever expires first.
    :param part: takes what is there when there is not enough, where others take nothing.
    :param group: lines that stand and fall together: nothing of them is taken when one that takes no part falls short.
    :param day: whoever takes any lot takes none that expired before this day.
    """

    item: str
    source: str
    destination: str
    quantity: Decimal
    lot: str | None = ""
    part: bool = False
    group: Hashable = None
    day: date = date.min


@dataclass(frozen=True, slots=True)
class Allocation:
    """What a line gets.

    :param taken: so much of each lot, in the order in which they are taken.
    :param missing: what there would have had to be more for the whole line, whether or not it takes a part.
    """

    taken: tuple[tuple[str, Decimal], ...]
    missing: Decimal

    @property
    def quantity(self) -> Decimal:
        """All that it gets."""
        return sum((quantity for _, quantity in self.taken), NOTHING)


def allocate(
    demands: Sequence[Demand],
    supply: Mapping[Place, Balance],
    expiries: Mapping[tuple[str, str], date | None] | None = None,
) -> list[Allocation]:
    """Give each line its stock, in order; what a line brings to a place is there for later lines.

    A group's lines are served where its first one stands. What is reserved is given to nobody: release a line's own
    reservation first. A place that may be negative gives any quantity of a lot that is named.

    :param supply: what is at each place; what is absent has nothing.
    :param expiries: the last day of each item's lot; None or absent where it has none.
    :returns: an allocation for each line, in the order of the lines.
    """
    shelf = _Shelf(supply, expiries or {})
    given: dict[int, Allocation] = {}
    for numbers in _groups(demands):
        falls = False
        for number in numbers:
            given[number] = shelf.take(demands[number])
            falls = falls or (given[number].missing > 0 and not demands[number].part)
        if falls:
            for number in reversed(numbers):
                shelf.put_back(demands[number], given[number])
                given[number] = Allocation((), given[number].missing)
    return [given[number] for number in range(len(demands))]


def _groups(demands: Sequence[Demand]) -> Iterable[list[int]]:
    """The lines' numbers, group by group; a line without a group is one by itself."""
    found: dict[Hashable, list[int]] = {}
    for number, demand in enumerate(demands):
        key = ("line", number) if demand.group is None else ("group", demand.group)
        found.setdefault(key, []).append(number)
    return found.values()


class _Shelf:
    """What is left at each place while lines are served."""

    def __init__(self, supply: Mapping[Place, Balance], expiries: Mapping[tuple[str, str], date | None]) -> None:
        self.left = {place: balance.available for place, balance in supply.items()}
        self.endless = {place for place, balance in supply.items() if balance.negative}
        self.expiries = expiries
        self.lots: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for place in self.left:
            self.lots[place.item, place.location].add(place.lot)

    def take(self, demand: Demand) -> Allocation:
        taken = []
        wanted = demand.quantity
        for place in self._places(demand):
            there = self.left.get(place, NOTHING)
            endless = demand.lot is not None and place in self.endless
            quantity = wanted if endless else min(wanted, max(there, NOTHING))
            if quantity > 0:
                taken.append((place.lot, quantity))
                wanted -= quantity
        if wanted and not demand.part:
            return Allocation((), wanted)
        for lot, quantity in taken:
            self._move(demand.item, lot, demand.source, demand.destination, quantity)
        return Allocation(tuple(taken), wanted)

    def put_back(self, demand: Demand, allocation: Allocation) -> None:
        for lot, quantity in allocation.taken:
            self._move(demand.item, lot, demand.destination, demand.source, quantity)

    def _move(self, item: str, lot: str, source: str, destination: str, quantity: Decimal) -> None:
        here, there = Place(item, source, lot), Place(item, destination, lot)
        self.left[here] = self.left.get(here, NOTHING) - quantity
        self.left[there] = self.left.get(there, NOTHING) + quantity
        self.lots[item, destination].add(lot)

    def _places(self, demand: Demand) -> list[Place]:
        if demand.lot is not None:
            return [Place(demand.item, demand.source, demand.lot)]
        first = []
        for lot in self.lots[demand.item, demand.source]:
            expires = self.expiries.get((demand.item, lot)) or date.max
            if expires >= demand.day:
                first.append((expires, lot))
        return [Place(demand.item, demand.source, lot) for _, lot in sorted(first)]
