"""Movements are posted once, all or none, and what may not be is refused by the database, whoever asks it."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from include.data.database import authored
from include.stock.items import Item, ItemMoved, load_items, load_lots, upsert_items, upsert_lots
from include.stock.ledger import Movement, NotPostable, Place, hold, lots_at, on_hand_at, post, reverse
from tests.support.ledger import AUTHOR, ITEMS, NOON, arrives, assert_sound, do, leaves, moves, prepare, quantities
from tests.support.work import change, rows

BY_HAND = """
    insert into stock_movements (key, kind, item, source, destination, quantity, moved_at)
    values ('by hand', 'issue', 'NUT', 'MAIN', 'CUSTOMER', :quantity, '2026-03-02 12:00Z')"""


@pytest.fixture
def engine(engine: Engine) -> Engine:
    prepare(engine)
    return engine


def refused(engine: Engine, *movements: Movement) -> str:
    with pytest.raises(NotPostable) as raised:
        do(engine, *movements)
    assert_sound(engine)
    return raised.value.code


def test_what_leaves_one_place_arrives_at_another(engine: Engine) -> None:
    assert do(engine, arrives("NUT", 10), moves("NUT", 4, "MAIN", "TRANSIT"), leaves("NUT", 1)) == 3
    assert quantities(engine, "NUT", ("MAIN", "TRANSIT", "CUSTOMER", "SUPPLIER")) == [5, 4, 1, -10]
    assert_sound(engine)


def test_the_same_key_twice_moves_once(engine: Engine) -> None:
    first, second = arrives("NUT", 10), arrives("NUT", 5)
    assert do(engine, first) == 1
    assert do(engine, first, second, second) == 1
    assert quantities(engine, "NUT") == [15]


def test_the_same_key_with_other_content_is_refused(engine: Engine) -> None:
    do(engine, arrives("NUT", 10, key="k"))
    assert refused(engine, arrives("NUT", 11, key="k"), arrives("NUT", 1)) == "movement.differs"
    assert quantities(engine, "NUT") == [10]


def test_more_than_is_there_is_refused_and_with_it_all_that_was_posted_together(engine: Engine) -> None:
    do(engine, arrives("NUT", 10))
    assert refused(engine, leaves("NUT", 10), leaves("NUT", 1)) == "stock.short"
    assert quantities(engine, "NUT") == [10]
    with pytest.raises(NotPostable, match="not enough of NUT at MAIN"):
        do(engine, leaves("NUT", 11))


def test_what_comes_and_goes_in_one_posting_need_not_have_been_there(engine: Engine) -> None:
    assert do(engine, leaves("NUT", 3), arrives("NUT", 3)) == 2
    assert quantities(engine, "NUT") == [0]


def test_plain_sql_takes_no_more_than_is_there_either(engine: Engine) -> None:
    do(engine, arrives("NUT", 10))
    with pytest.raises(DBAPIError, match="no_stock_below_what_is_reserved"):
        change(engine, BY_HAND, quantity=11)
    change(engine, BY_HAND, quantity=9)
    assert quantities(engine, "NUT") == [1]
    assert_sound(engine)


def test_what_was_posted_and_what_is_kept_of_it_cannot_be_changed_by_hand(engine: Engine) -> None:
    do(engine, arrives("NUT", 10))
    for statement in (
        "update stock_movements set quantity = 1",
        "delete from stock_movements",
        "truncate stock_movements",
        "update stock_balances set quantity = 0",
        "update stock_balances set negative = true",
        "delete from stock_balances",
        "truncate stock_balances cascade",
        "insert into stock_balances values ('NUT', 'COLD', '', 5, 0, true, false, false)",
        "update stock_reservations set quantity = 1",
    ):
        with pytest.raises(DBAPIError, match="refused"):
            change(engine, statement)
    assert quantities(engine, "NUT") == [10]


def test_a_movement_has_an_author(engine: Engine) -> None:
    with pytest.raises(DBAPIError, match="author"), engine.begin() as connection:
        connection.execute(text(BY_HAND), {"quantity": 1})


def test_what_does_not_fit_its_item_is_refused(engine: Engine) -> None:
    for wrong in (
        arrives("NOBODY", 1),
        arrives("NUT", 1, "NOWHERE"),
        arrives("NUT", "1.5"),
        arrives("NUT", 1, lot="L1"),
        arrives("MILK", 1),
        arrives("MILK", "0.0001", lot="L1"),
        arrives("DRILL", 2, lot="D-1"),
    ):
        with authored(engine, actor=AUTHOR) as connection, pytest.raises(NotPostable, match=wrong.key) as raised:
            post(connection, [wrong])
        assert raised.value.code == "movement.unfit", wrong
    assert rows(engine, "select * from stock_movements") == []


def test_a_closed_period_stays_closed(engine: Engine) -> None:
    do(engine, arrives("NUT", 10, key="before"))
    change(engine, "update stock_closing set closed_until = :noon", noon=NOON)
    assert refused(engine, arrives("NUT", 1), arrives("NUT", 1, moved_at=NOON - timedelta(seconds=1))) == (
        "period.closed"
    )
    assert do(engine, arrives("NUT", 1)) == 1
    change(engine, "update stock_closing set closed_until = :after", after=NOON + timedelta(days=1))
    assert do(engine, arrives("NUT", 10, key="before")) == 0


def test_whoever_closes_waits_for_those_who_post(engine: Engine) -> None:
    closed = threading.Event()

    def close() -> None:
        with authored(engine, actor=AUTHOR) as other:
            other.execute(text("select pg_advisory_xact_lock(hashtext('waybill.stock_closing'))"))
            other.execute(text("update stock_closing set closed_until = :after"), {"after": NOON + timedelta(days=1)})
        closed.set()

    closing = threading.Thread(target=close)
    with authored(engine, actor=AUTHOR) as connection:
        post(connection, [arrives("NUT", 1)])
        closing.start()
        assert not closed.wait(0.3)
    assert closed.wait(10)
    closing.join()
    assert refused(engine, arrives("NUT", 1)) == "period.closed"


def test_a_serial_number_is_in_one_place(engine: Engine) -> None:
    do(engine, arrives("DRILL", 1, lot="D-1"))
    assert refused(engine, arrives("DRILL", 1, "COLD", lot="D-1")) == "serial.elsewhere"
    assert refused(engine, arrives("DRILL", 1, lot="D-1")) == "serial.elsewhere"
    do(engine, moves("DRILL", 1, "MAIN", "TRANSIT", lot="D-1"))
    do(engine, moves("DRILL", 1, "TRANSIT", "COLD", lot="D-1"))
    assert quantities(engine, "DRILL", ("MAIN", "TRANSIT", "COLD"), "D-1") == [0, 0, 1]
    assert refused(engine, leaves("DRILL", 1, lot="D-1")) in ("stock.short", "serial.elsewhere")


def test_a_number_is_not_sold_twice_even_where_stock_may_be_negative(engine: Engine) -> None:
    assert refused(engine, leaves("DRILL", 1, "SHOP", lot="D-1")) == "serial.elsewhere"


@pytest.mark.parametrize(("item", "lot"), [("DRILL", "D-1"), ("NUT", "")])
def test_of_two_at_the_same_instant_one_gets_the_last_piece(engine: Engine, item: str, lot: str) -> None:
    do(engine, arrives(item, 1, lot=lot))
    came: list[str] = []
    together = threading.Barrier(8)

    def sell() -> None:
        together.wait()
        try:
            do(engine, leaves(item, 1, lot=lot))
            came.append("sold")
        except NotPostable as error:
            came.append(error.code)

    sellers = [threading.Thread(target=sell) for _ in range(8)]
    for seller in sellers:
        seller.start()
    for seller in sellers:
        seller.join()
    assert came.count("sold") == 1
    assert len(came) == 8
    assert set(came) <= {"sold", "stock.short", "serial.elsewhere"}
    assert quantities(engine, item, lot=lot) == [0]
    assert_sound(engine)


WAITS = "select pid from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
BULKY = Item("CRATE", "Crates", "goods", "pcs", volume=Decimal(1))
OTHER = Item("BARREL", "Barrels", "goods", "pcs", volume=Decimal(1))
"""COLD has room for forty of either."""


def test_of_two_at_the_same_instant_one_gets_the_last_room(engine: Engine) -> None:
    prepare(engine, BULKY, OTHER)
    do(engine, arrives("CRATE", 39, "COLD"))
    came: list[str] = []

    def fill() -> None:
        try:
            do(engine, arrives("BARREL", 1, "COLD"))
            came.append("filled")
        except NotPostable as error:
            came.append(error.code)

    other = threading.Thread(target=fill)
    with authored(engine, actor=AUTHOR) as connection:
        post(connection, [arrives("CRATE", 1, "COLD")])
        other.start()
        patience = time.monotonic() + 10
        while not rows(engine, WAITS):
            assert time.monotonic() < patience
            time.sleep(0.02)
        assert came == []
    other.join()
    assert came == ["place.capacity"]
    assert quantities(engine, "CRATE", ("COLD",)) + quantities(engine, "BARREL", ("COLD",)) == [40, 0]
    assert_sound(engine)


def test_what_is_posted_together_fits_together_or_not_at_all(engine: Engine) -> None:
    prepare(engine, BULKY, OTHER)
    with pytest.raises(NotPostable, match="does not fit into COLD: 41 m³ would be there, and its capacity is 40 m³"):
        do(engine, arrives("CRATE", 20, "COLD"), arrives("BARREL", 21, "COLD"))
    do(engine, arrives("CRATE", 40, "COLD"))
    do(engine, leaves("CRATE", 5, "COLD"), arrives("BARREL", 5, "COLD"))
    assert refused(engine, moves("BARREL", 1, "SUPPLIER", "COLD")) == "place.capacity"
    with pytest.raises(DBAPIError, match="does not fit into COLD"):
        change(engine, BY_HAND.replace("'NUT', 'MAIN', 'CUSTOMER'", "'CRATE', 'SUPPLIER', 'COLD'"), quantity=1)


def test_what_was_found_or_never_left_is_there_whether_it_fits_or_not(engine: Engine) -> None:
    prepare(engine, BULKY)
    do(engine, arrives("CRATE", 40, "COLD"))
    do(engine, leaves("CRATE", 1, "COLD", key="left"), moves("CRATE", 1, "ADJUSTMENT", "COLD"))
    (left,) = rows(engine, "select id from stock_movements where key = 'left'")
    with authored(engine, actor=AUTHOR) as connection:
        reverse(connection, [left["id"]], moved_at=NOON, key_prefix="undo")
    assert quantities(engine, "CRATE", ("COLD",)) == [41]
    do(engine, leaves("CRATE", 1, "COLD"))


def test_each_lot_is_counted_by_itself(engine: Engine) -> None:
    do(engine, arrives("MILK", "1.5", lot="MON"), arrives("MILK", 2, lot="TUE"))
    assert refused(engine, leaves("MILK", 2, lot="MON")) == "stock.short"
    do(engine, leaves("MILK", "1.5", lot="MON"))
    with engine.connect() as connection:
        assert lots_at(connection, [("MILK", "MAIN")]) == [Place("MILK", "MAIN", "TUE")]


def test_a_lot_keeps_the_last_day_that_is_known(engine: Engine) -> None:
    day = NOON.date()
    with authored(engine, actor=AUTHOR) as connection:
        assert upsert_lots(connection, {("MILK", "MON"): None}) == 1
        assert upsert_lots(connection, {("MILK", "MON"): day}) == 1
        assert upsert_lots(connection, {("MILK", "MON"): day + timedelta(days=1)}) == 0
        assert load_lots(connection, ["MILK"]) == {("MILK", "MON"): day}


def test_a_reversal_brings_back_what_moved_once(engine: Engine) -> None:
    do(engine, arrives("NUT", 10), leaves("NUT", 4, key="sold", case_id=7, line=2))
    (sold,) = rows(engine, "select id from stock_movements where key = 'sold'")
    for new in (1, 0):
        with authored(engine, actor=AUTHOR) as connection:
            assert reverse(connection, [sold["id"]], moved_at=NOON, key_prefix="undo") == new
    with authored(engine, actor=AUTHOR) as connection, pytest.raises(NotPostable) as raised:
        reverse(connection, [sold["id"]], moved_at=NOON, key_prefix="undo again")
    assert raised.value.code == "movement.reversed"
    (back,) = rows(engine, "select * from stock_movements where reverses is not null")
    assert (back["source"], back["destination"], back["case_id"], back["line"]) == ("CUSTOMER", "MAIN", 7, 2)
    assert quantities(engine, "NUT", ("MAIN", "CUSTOMER")) == [10, 0]


def test_a_receipt_whose_goods_are_gone_is_not_reversed(engine: Engine) -> None:
    do(engine, arrives("NUT", 10, key="came"), leaves("NUT", 4))
    (came,) = rows(engine, "select id from stock_movements where key = 'came'")
    with authored(engine, actor=AUTHOR) as connection, pytest.raises(NotPostable) as raised:
        reverse(connection, [came["id"]], moved_at=NOON, key_prefix="undo")
    assert raised.value.code == "stock.short"


def test_what_was_there_at_a_moment_counts_movements_by_when_they_moved(engine: Engine) -> None:
    hour = timedelta(hours=1)
    do(engine, arrives("NUT", 10, moved_at=NOON - 2 * hour), leaves("NUT", 3, moved_at=NOON + hour))
    do(engine, leaves("NUT", 2, moved_at=NOON))
    main, cold = Place("NUT", "MAIN"), Place("NUT", "COLD")
    with engine.connect() as connection:
        for moment, there in ((NOON - 3 * hour, 0), (NOON - hour, 10), (NOON, 8), (NOON + 2 * hour, 5)):
            assert on_hand_at(connection, [main, cold, main], moment) == {main: there, cold: 0}


def test_places_that_are_held_stay_as_they_are(engine: Engine) -> None:
    do(engine, arrives("NUT", 10))
    place = Place("NUT", "MAIN")
    posted = threading.Event()
    other = threading.Thread(target=lambda: (do(engine, leaves("NUT", 1)), posted.set()))
    with authored(engine, actor=AUTHOR) as connection:
        assert hold(connection, iter([place, Place("NOBODY", "MAIN")]))[place].available == 10
        other.start()
        assert not posted.wait(0.3)
        assert hold(connection, [place])[place].available == 10
    assert posted.wait(10)
    other.join()


def test_an_item_that_moved_stays_what_it_is(engine: Engine) -> None:
    do(engine, arrives("NUT", 10))
    with authored(engine, actor=AUTHOR) as connection:
        assert upsert_items(connection, [Item("NUT", "Nuts, M8", "material", "pcs")]) == 1
        assert load_items(connection, ["NUT", "NOBODY"]) == {"NUT": Item("NUT", "Nuts, M8", "material", "pcs")}
    with authored(engine, actor=AUTHOR) as connection, pytest.raises(ItemMoved, match="NUT has moved"):
        upsert_items(connection, [Item("NUT", "Nuts", "material", "kg", decimals=3)])


def test_items_come_back_as_they_were_written_and_are_learned_once(engine: Engine) -> None:
    with authored(engine, actor=AUTHOR) as connection:
        assert load_items(connection, [item.code for item in ITEMS]) == {item.code: item for item in ITEMS}
        assert upsert_items(connection, ITEMS) == 0
        learned = [Item("NUT", "?", "goods", "kg"), Item("NEW", "New", "goods", "pcs", learned_from="pos")]
        assert upsert_items(connection, learned, only_new=True) == 1
        known = load_items(connection, ["NUT", "NEW"])
    assert (known["NUT"], known["NEW"].learned_from) == (ITEMS[0], "pos")


def test_cost_and_case_are_kept_with_the_movement(engine: Engine) -> None:
    do(engine, arrives("NUT", 10, unit_cost=Decimal("0.123456"), case_id=3, line=1))
    (kept,) = rows(engine, "select unit_cost, case_id, line, author from stock_movements")
    assert kept == {"unit_cost": Decimal("0.123456"), "case_id": 3, "line": 1, "author": AUTHOR}
