"""Whatever is posted, reserved, released, reversed and posted again: the ledger is what a dictionary says it is."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import Connection, Engine

from include.data.database import authored
from include.stock.check import differences
from include.stock.items import Item, upsert_items, upsert_lots
from include.stock.ledger import Movement, NotPostable, Place, on_hand, on_hand_at, post, reverse
from include.stock.reservations import Promise, release, reserve
from tests.support.ledger import AUTHOR, NOON, prepare
from tests.support.work import change, receive, rows

REAL = ("MAIN", "COLD", "SHOP", "TRANSIT")
BELOW_ZERO = ("SHOP",)
EVERYWHERE = (*REAL, "SUPPLIER", "CUSTOMER", "SCRAP")
TRACKED = {"plain": ("",), "lots": ("L1", "L2"), "numbers": ("N1", "N2")}
WAYS = list(itertools.permutations(EVERYWHERE, 2))
LOTS = [(name, lot) for name, lots in TRACKED.items() for lot in lots]
HOURS = st.integers(-3, 3)
_worlds = itertools.count(1)


class LedgerAndModel(RuleBasedStateMachine):
    """Does the same to the ledger and to a few dictionaries. Each run has items of its own."""

    engine: Engine
    cases: list[int]
    posted = Bundle("posted")

    def __init__(self) -> None:
        super().__init__()
        self.world = next(_worlds)
        self.keys = itertools.count(1)
        self.there: defaultdict[Place, Decimal] = defaultdict(Decimal)
        self.promised: dict[tuple[int, int, Place], Decimal] = {}
        self.moved: dict[str, Movement] = {}
        self.taken_back: dict[str, str] = {}
        self.noon = NOON + timedelta(days=self.world)  # what one world closed stays closed
        self.closed = self.noon - timedelta(hours=12)
        tracking = {"plain": "none", "lots": "lot", "numbers": "serial"}
        items = [Item(self.code(name), name, "goods", "pcs", tracking=tracking[name]) for name in TRACKED]
        with authored(self.engine, actor=AUTHOR) as connection:
            upsert_items(connection, items)
            upsert_lots(connection, {(self.code(name), lot): None for name in TRACKED for lot in TRACKED[name] if lot})

    def code(self, name: str) -> str:
        return f"{name}-{self.world}"

    @initialize(quantity=st.integers(1, 9))
    def begin(self, quantity: int) -> None:
        first = Movement(self.key(), "receipt", self.code("plain"), "SUPPLIER", "MAIN", Decimal(quantity), self.noon)
        self.post([first])

    def key(self) -> str:
        return f"{self.world}/{next(self.keys)}"

    @rule(target=posted, data=st.data())
    def post_some(self, data: st.DataObject) -> str:
        movements = []
        for _ in range(data.draw(st.integers(1, 3))):
            name = data.draw(st.sampled_from(sorted(TRACKED)))
            source, destination = data.draw(
                st.tuples(st.sampled_from(EVERYWHERE), st.sampled_from(EVERYWHERE)).filter(
                    lambda ends: len(set(ends)) > 1
                )
            )
            movements.append(
                Movement(
                    key=self.key(),
                    kind="test",
                    item=self.code(name),
                    source=source,
                    destination=destination,
                    quantity=Decimal(1 if name == "numbers" else data.draw(st.integers(1, 6))),
                    moved_at=self.noon + timedelta(hours=data.draw(HOURS)),
                    lot=data.draw(st.sampled_from(TRACKED[name])),
                )
            )
        self.post(movements)
        return movements[0].key

    @rule(key=posted, data=st.data())
    def post_again(self, key: str, data: st.DataObject) -> None:
        if key in self.moved:
            again = self.moved[key]
            other = replace(again, quantity=again.quantity + data.draw(st.sampled_from([0, 0, 1])))
            self.post([other])

    @rule(key=posted, prefix=st.sampled_from(["a", "b"]))
    def take_back(self, key: str, prefix: str) -> None:
        if key not in self.moved:
            return
        before = self.moved[key]
        opposite = replace(before, key=f"{prefix}/{key}", source=before.destination, destination=before.source)
        twice = self.taken_back.get(key) not in (None, prefix)
        expected = {"movement.reversed"} if twice else set()
        expected |= self.faults([opposite] if not self.taken_back.get(key) else [])
        (row,) = rows(self.engine, "select id from stock_movements where key = :key", key=key)

        def act(connection: Connection) -> int:
            return reverse(connection, [row["id"]], moved_at=before.moved_at, key_prefix=f"{prefix}/{self.world}")

        if twice:
            expected |= self.faults([opposite])
        if self.agree(act, expected, 0 if self.taken_back.get(key) else 1):
            self.taken_back.setdefault(key, prefix)
            self.apply([] if self.taken_back[key] != prefix or opposite.key in self.moved else [opposite])

    @rule(case=st.integers(0, 2), line=st.integers(1, 2), where=st.sampled_from(REAL), quantity=st.integers(1, 4))
    def promise(self, case: int, line: int, where: str, quantity: int) -> None:
        place = Place(self.code("plain"), where)
        made = (self.cases[case], line, place)
        new = made not in self.promised
        short = new and where not in BELOW_ZERO and self.there[place] - self.reserved(place) < quantity

        def act(connection: Connection) -> int:
            return reserve(connection, made[0], [Promise(line, place, Decimal(quantity))], NOON)

        if self.agree(act, {"stock.short"} if short else set(), int(new)) and new:
            self.promised[made] = Decimal(quantity)

    @rule(case=st.integers(0, 2))
    def let_go(self, case: int) -> None:
        theirs = [made for made in self.promised if made[0] == self.cases[case]]
        self.agree(lambda connection: release(connection, [self.cases[case]]), set(), len(theirs))
        for made in theirs:
            del self.promised[made]

    @rule(hours=st.integers(-3, 0))
    def close(self, hours: int) -> None:
        self.closed = max(self.closed, self.noon + timedelta(hours=hours))
        change(self.engine, "update stock_closing set closed_until = :until", until=self.closed)

    @invariant()
    def they_agree(self) -> None:
        places = [
            Place(self.code(name), where, lot) for name in TRACKED for lot in TRACKED[name] for where in EVERYWHERE
        ]
        with self.engine.connect() as connection:
            kept = on_hand(connection, places)
            before = on_hand_at(connection, places, self.noon)
            assert not differences(connection)
        for place in places:
            balance = kept.get(place)
            assert (balance.quantity if balance else 0) == self.there[place], place
            assert (balance.reserved if balance else 0) == self.reserved(place), place
            assert before[place] == sum(
                each.quantity * ((each.destination == place.location) - (each.source == place.location))
                for each in self.moved.values()
                if (each.item, each.lot) == (place.item, place.lot) and each.moved_at <= self.noon
            ), place

    def post(self, movements: list[Movement]) -> None:
        new = [movement for movement in movements if movement.key not in self.moved]
        expected = self.faults(new)
        if any(movement.key in self.moved and movement != self.moved[movement.key] for movement in movements):
            expected.add("movement.differs")
        if self.agree(lambda connection: post(connection, movements), expected, len(new)):
            self.apply(new)

    def faults(self, movements: Iterable[Movement]) -> set[str]:
        """Why the ledger should refuse these, any of which it may say."""
        after = self.there.copy()
        found = set()
        for each in movements:
            after[Place(each.item, each.source, each.lot)] -= each.quantity
            after[Place(each.item, each.destination, each.lot)] += each.quantity
            if each.moved_at < self.closed:
                found.add("period.closed")
        if found:
            return found
        in_places: defaultdict[tuple[str, str], int] = defaultdict(int)
        for place, quantity in after.items():
            if place.location not in REAL:
                continue
            if place.item.startswith("numbers"):
                in_places[place.item, place.lot] += quantity > 0
                if quantity not in (0, 1):
                    found.add("serial.elsewhere")
            if place.location not in BELOW_ZERO and quantity < self.reserved(place):
                found.add("stock.short")
        return found | ({"serial.elsewhere"} if any(count > 1 for count in in_places.values()) else set())

    def apply(self, movements: Iterable[Movement]) -> None:
        for each in movements:
            self.there[Place(each.item, each.source, each.lot)] -= each.quantity
            self.there[Place(each.item, each.destination, each.lot)] += each.quantity
            self.moved[each.key] = each

    def reserved(self, place: Place) -> Decimal:
        return sum((quantity for (_, _, where), quantity in self.promised.items() if where == place), Decimal(0))

    def agree(self, act: Callable[[Connection], int], expected: set[str], new: int) -> bool:
        """Whether the ledger did it; fails when it should have refused, or refused for another reason."""
        try:
            with authored(self.engine, actor=AUTHOR) as connection:
                done = act(connection)
        except NotPostable as error:
            refused = error.code
        else:
            refused = None
        if refused:
            assert refused in expected, f"refused for {refused}, and should have been for one of {expected or 'none'}"
            return False
        assert not expected, f"done, and should have been refused: {expected}"
        assert done == new
        return True

    def teardown(self) -> None:
        with authored(self.engine, actor=AUTHOR) as connection:
            release(connection, self.cases)


def test_the_ledger_is_what_a_simple_model_says(engine: Engine) -> None:
    prepare(engine)
    LedgerAndModel.engine = engine
    LedgerAndModel.cases = receive(engine, 3, workflow="stock_request")
    run_state_machine_as_test(
        LedgerAndModel,
        settings=settings(
            max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
