"""Nobody gets what is not there, nobody goes without what is, and who came first is served first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from include.stock.allocation import Allocation, Demand, allocate
from include.stock.ledger import Balance, Place

TODAY = date(2026, 3, 2)
PLACES = ("A", "B", "C", "SHOP", "OUT")
ENDLESS = ("SHOP", "OUT")
LOTS = ("", "L1", "L2", "L3")


def wants(quantity: int, source: str = "A", destination: str = "OUT", **more: object) -> Demand:
    return Demand("X", source, destination, Decimal(quantity), **more)  # type: ignore[arg-type]


def there(quantity: int, reserved: int = 0, *, negative: bool = False) -> Balance:
    return Balance(Decimal(quantity), Decimal(reserved), negative)


def got(*allocations: Allocation) -> list[int]:
    return [int(allocation.quantity) for allocation in allocations]


def test_who_came_first_is_served_first() -> None:
    supply = {Place("X", "A"): there(10)}
    given_ = allocate([wants(4), wants(7), wants(5), wants(9, part=True)], supply)
    assert got(*given_) == [4, 0, 5, 1]
    assert [int(allocation.missing) for allocation in given_] == [0, 1, 0, 8]


def test_what_is_reserved_is_given_to_nobody() -> None:
    assert got(*allocate([wants(9, part=True)], {Place("X", "A"): there(10, 7)})) == [3]


def test_what_arrives_with_an_earlier_line_is_there_for_a_later_one() -> None:
    supply = {Place("X", "OUT"): there(0, negative=True)}
    lines = [wants(2), wants(5, "OUT", "A"), wants(3, "A", "B"), wants(3, "B", "OUT"), wants(3)]
    assert got(*allocate(lines, supply)) == [0, 5, 3, 3, 0]


def test_lines_that_belong_together_stand_and_fall_together() -> None:
    supply = {Place("X", "A"): there(5), Place("X", "B"): there(1)}
    lines = [wants(4, group=1), wants(5), wants(2, "B", group=1)]
    assert got(*allocate(lines, supply)) == [0, 5, 0]
    assert [int(each.missing) for each in allocate(lines, supply)] == [0, 0, 1]


def test_a_line_that_takes_a_part_does_not_let_its_group_fall() -> None:
    supply = {Place("X", "A"): there(5), Place("X", "B"): there(1)}
    assert got(*allocate([wants(4, group=1), wants(2, "B", group=1, part=True)], supply)) == [4, 1]


def test_what_expires_first_goes_first_and_what_expired_stays() -> None:
    supply = {Place("X", "A", lot): there(2) for lot in ("L1", "L2", "L3", "OLD", "EVER")}
    days = {"L1": date(2026, 5, 1), "L2": TODAY, "L3": date(2026, 4, 1), "OLD": date(2026, 3, 1)}
    expiries = {("X", lot): day for lot, day in days.items()}
    (mixed,) = allocate([wants(9, lot=None, day=TODAY, part=True)], supply, expiries)
    assert mixed.taken == (("L2", 2), ("L3", 2), ("L1", 2), ("EVER", 2))
    assert mixed.missing == 1


def test_a_lot_that_is_named_is_taken_whatever_its_day() -> None:
    supply = {Place("X", "A", "OLD"): there(2)}
    (scrapped,) = allocate([wants(2, lot="OLD", day=TODAY)], supply, {("X", "OLD"): date(2020, 1, 1)})
    assert scrapped.taken == (("OLD", 2),)


def test_a_place_that_may_be_negative_gives_a_named_lot_without_end_and_any_lot_as_far_as_there_is() -> None:
    supply = {Place("X", "SHOP"): there(1, negative=True), Place("X", "SHOP", "L1"): there(1, negative=True)}
    assert got(*allocate([wants(5, "SHOP"), wants(5, "SHOP", lot=None, part=True)], supply)) == [5, 1]


demands = st.lists(
    st.builds(
        Demand,
        item=st.sampled_from(["X", "Y"]),
        source=st.sampled_from(PLACES[:3]),
        destination=st.sampled_from(PLACES[3:]),
        quantity=st.integers(1, 9).map(Decimal),
        lot=st.sampled_from([None, *LOTS]),
        part=st.booleans(),
        group=st.sampled_from([None, None, 1, 2]),
        day=st.just(TODAY),
    ),
    max_size=12,
)
round_trips = st.lists(
    st.builds(
        Demand,
        item=st.just("X"),
        source=st.sampled_from(PLACES),
        destination=st.sampled_from(PLACES),
        quantity=st.integers(1, 9).map(Decimal),
        lot=st.sampled_from(LOTS),
        part=st.booleans(),
        group=st.sampled_from([None, None, 1, 2]),
    ).filter(lambda demand: demand.source != demand.destination),
    max_size=12,
)
supplies = st.dictionaries(
    st.builds(Place, st.sampled_from(["X", "Y"]), st.sampled_from(PLACES[:3]), st.sampled_from(LOTS)),
    st.builds(there, st.integers(-3, 20), st.integers(0, 5)),
)
days = st.dictionaries(
    st.tuples(st.sampled_from(["X", "Y"]), st.sampled_from(LOTS[1:])),
    st.one_of(st.none(), st.dates(date(2026, 2, 25), date(2026, 3, 9))),
)


def left(lines: Sequence[Demand], given_: Sequence[Allocation], supply: dict[Place, Balance]) -> dict[Place, Decimal]:
    after: dict[Place, Decimal] = defaultdict(Decimal)
    after.update({place: balance.available for place, balance in supply.items()})
    for demand, allocation in zip(lines, given_, strict=True):
        for lot, quantity in allocation.taken:
            after[Place(demand.item, demand.source, lot)] -= quantity
            after[Place(demand.item, demand.destination, lot)] += quantity
    return after


@given(demands, supplies, days)
def test_nobody_gets_what_is_not_there_or_expired(
    lines: list[Demand], supply: dict[Place, Balance], expiries: dict[tuple[str, str], date | None]
) -> None:
    given_ = allocate(lines, supply, expiries)
    for place, quantity in left(lines, given_, supply).items():
        if place.location in PLACES[:3]:
            before = supply[place].available if place in supply else 0
            assert quantity >= min(before, 0)
    for demand, allocation in zip(lines, given_, strict=True):
        assert all(quantity > 0 for _, quantity in allocation.taken)
        assert allocation.quantity <= demand.quantity
        if demand.lot is not None:
            assert {lot for lot, _ in allocation.taken} <= {demand.lot}
            continue
        last = [expiries.get((demand.item, lot)) or date.max for lot, _ in allocation.taken]
        assert last == sorted(last)
        assert all(day >= TODAY for day in last)


@given(demands, supplies)
def test_all_or_none_of_a_line_and_of_a_group(lines: list[Demand], supply: dict[Place, Balance]) -> None:
    given_ = allocate(lines, supply)
    groups: dict[object, list[int]] = defaultdict(list)
    for number, demand in enumerate(lines):
        groups[demand.group or ("by itself", number)].append(number)
    for numbers in groups.values():
        falls = any(given_[number].missing and not lines[number].part for number in numbers)
        for number in numbers:
            assert given_[number].quantity == (0 if falls else lines[number].quantity - given_[number].missing)


@given(demands, supplies, st.data())
def test_a_later_line_changes_nothing_for_those_before_it(
    lines: list[Demand], supply: dict[Place, Balance], data: st.DataObject
) -> None:
    alone = [demand for demand in lines if demand.group is None]
    cut = data.draw(st.integers(0, len(alone)))
    assert allocate(alone, supply)[:cut] == allocate(alone[:cut], supply)


@given(demands, supplies)
def test_who_takes_a_part_goes_without_only_when_nothing_is_left(
    lines: list[Demand], supply: dict[Place, Balance]
) -> None:
    lines = [demand for demand in lines if demand.group is None]
    given_ = allocate(lines, supply)
    after = left(lines, given_, supply)
    for demand, allocation in zip(lines, given_, strict=True):
        if demand.part and allocation.missing:
            lots = LOTS if demand.lot is None else (demand.lot,)
            assert all(after[Place(demand.item, demand.source, lot)] <= 0 for lot in lots)


@given(round_trips, supplies)
def test_what_is_given_can_be_posted_in_that_order(lines: list[Demand], supply: dict[Place, Balance]) -> None:
    lines = [demand for demand in lines if demand.group is None]
    supply = {**supply, **{Place("X", where, lot): there(0, negative=True) for where in ENDLESS for lot in LOTS}}
    after = {place: balance.available for place, balance in supply.items()}
    for demand, allocation in zip(lines, allocate(lines, supply), strict=True):
        for lot, quantity in allocation.taken:
            here, to = Place("X", demand.source, lot), Place("X", demand.destination, lot)
            assert demand.source in ENDLESS or after.get(here, 0) >= quantity
            after[here] = after.get(here, Decimal(0)) - quantity
            after[to] = after.get(to, Decimal(0)) + quantity
