"""Values follow the movements, whoever posts meanwhile, whatever dies, and in whatever order they come."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from include.data.database import authored
from include.stock import valuation
from include.stock.ledger import Movement, post, reverse
from include.stock.valuation import Tally, stock_value, totals, unit_costs, value
from tests.support.values import (
    GOODS,
    MATERIAL,
    START,
    move,
    number,
    post_all,
    prepare,
    unreconciled,
    value_all,
    valued,
)


def test_the_method_is_the_groups(engine: Engine) -> None:
    prepare(engine, ("A", MATERIAL, None), ("F", GOODS, None), ("N", GOODS, "3.5"), ("X", GOODS, None))
    for item in ("A", "F"):
        post_all(engine, move(item, 10, "10"), move(item, 10, "20", day=1), move(item, -5, day=2))
    assert value_all(engine) == Tally(items=2, valued=6)
    assert valued(engine, "A")[2] == (15, -75, 0)
    assert valued(engine, "F")[2] == (10, -50, 0)
    with engine.begin() as connection:
        assert unit_costs(connection, ["A", "F", "N", "X", "?"]) == {"A": 15, "F": 10, "N": Decimal("3.5")}
    assert value_all(engine) == Tally()
    assert unreconciled(engine) == []


def test_only_what_crosses_the_border_has_a_value(engine: Engine) -> None:
    prepare(engine, ("A", MATERIAL, None))
    inside = Movement("t", "transfer", "A", "MAIN", "TRANSIT", Decimal(4), START + timedelta(days=1))
    outside = Movement("v", "transfer", "A", "SUPPLIER", "CUSTOMER", Decimal(4), START + timedelta(days=1))
    post_all(engine, move("A", 10, "3", place="MAIN"), inside, outside)
    assert value_all(engine) == Tally(items=1, valued=1)
    with engine.begin() as connection:
        holdings = stock_value(connection)
    assert [(each.location, each.quantity, each.value) for each in holdings] == [("MAIN", 6, 18), ("TRANSIT", 4, 12)]


def test_what_is_dated_before_is_put_in_its_place_and_each_change_is_noted(engine: Engine) -> None:
    prepare(engine, ("F", GOODS, None))
    post_all(engine, move("F", 10, "10"), move("F", -4, day=2), move("F", -4, day=3))
    value_all(engine)
    post_all(engine, move("F", -8, day=1, key="late"))
    assert value_all(engine) == Tally(items=1, valued=1, revalued=0)  # the same cost: nothing else changes
    post_all(engine, move("F", 5, "7", day=-1, key="later still"))
    assert value_all(engine) == Tally(items=1, valued=1, revalued=1)
    assert [row[1] for row in valued(engine, "F")] == [35, 100, -65, -40, -40]
    with engine.connect() as connection:
        noted = connection.execute(
            text("""
                select m.key, r.value_before, r.value_after, b.key from stock_revaluations r
                join stock_movements m on m.id = r.movement_id join stock_movements b on b.id = r.because
                order by r.id""")
        ).all()
    assert [tuple(row) for row in noted] == [("late", -80, -65, "later still")]
    assert unreconciled(engine) == []


@pytest.mark.parametrize("group", [MATERIAL, GOODS])
def test_any_order_of_posting_gives_the_values_of_the_right_one(
    engine: Engine, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each item gets the same story: one in order and at once, the others in any order, valued now and then."""
    monkeypatch.setattr(valuation, "CHECKPOINT_EVERY", 4)
    monkeypatch.setattr(valuation, "MOVEMENTS_AT_ONCE", 7)
    dice = random.Random(f"waybill {group}")
    shuffled = [f"S{n}" for n in range(6)]
    prepare(engine, *((item, group, "2") for item in ("RIGHT", *shuffled)))
    story = [
        (day, dice.choice([-1, 1, 1]) * dice.randint(1, 20), dice.choice([None, f"{dice.randint(1, 900) / 100}"]))
        for day in range(40)
    ]

    def movements(item: str) -> list[Movement]:
        return [move(item, quantity, cost if quantity > 0 else None, day=day) for day, quantity, cost in story]

    post_all(engine, *movements("RIGHT"))
    value_all(engine)
    for item in shuffled:
        pile = movements(item)
        dice.shuffle(pile)
        while pile:
            portion = dice.randint(1, 12)
            post_all(engine, *pile[:portion])
            pile = pile[portion:]
            value_all(engine, [item])
        assert valued(engine, item) == valued(engine, "RIGHT")
    assert number(engine, "select count(*) from stock_checkpoints") > 20
    assert number(engine, "select count(*) from stock_revaluations") > 20
    assert unreconciled(engine) == []


def test_movements_of_one_instant_are_valued_as_they_were_posted(engine: Engine) -> None:
    prepare(engine, ("F", GOODS, None))
    post_all(engine, move("F", 1, "10", key="1"))
    value_all(engine)
    post_all(engine, move("F", 1, "20", key="2"), move("F", -1, key="3"))
    assert value_all(engine) == Tally(items=1, valued=2, revalued=0)
    assert [row[1] for row in valued(engine, "F")] == [10, 20, -10]


@pytest.mark.parametrize("group", [MATERIAL, GOODS])
def test_a_movement_taken_back_leaves_the_value_as_it_was(engine: Engine, group: str) -> None:
    prepare(engine, ("R", group, None))
    post_all(engine, move("R", 10, "5"), move("R", 10, "500", day=1, key="wrong"), move("R", -2, day=2, key="sold"))
    value_all(engine)
    with authored(engine, actor="system:test") as connection:
        ids = connection.execute(text("select id from stock_movements where key = 'sold'")).scalars().all()
        reverse(connection, ids, moved_at=START + timedelta(days=3), key_prefix="undo")
    value_all(engine)
    with authored(engine, actor="system:test") as connection:
        ids = connection.execute(text("select id from stock_movements where key = 'wrong'")).scalars().all()
        reverse(connection, ids, moved_at=START + timedelta(days=4), key_prefix="undo")
    value_all(engine)
    with engine.begin() as connection:
        assert totals(stock_value(connection), "item") == {"R": 50}
        assert unit_costs(connection, ["R"]) == {"R": 5}


def test_what_is_taken_back_follows_when_what_it_takes_back_is_valued_again(engine: Engine) -> None:
    prepare(engine, ("F", GOODS, None))
    post_all(engine, move("F", 10, "10", day=1), move("F", -4, day=2, key="sold"))
    with authored(engine, actor="system:test") as connection:
        ids = connection.execute(text("select id from stock_movements where key = 'sold'")).scalars().all()
        reverse(connection, ids, moved_at=START + timedelta(days=3), key_prefix="undo")
    value_all(engine)
    assert [row[1] for row in valued(engine, "F")] == [100, -40, 40]
    post_all(engine, move("F", 10, "5"))
    assert value_all(engine) == Tally(items=1, valued=1, revalued=2)
    assert [row[1] for row in valued(engine, "F")] == [50, 100, -20, 20]


def test_what_nobody_knows_the_cost_of_is_flagged(engine: Engine) -> None:
    prepare(engine, ("U", GOODS, None), ("K", GOODS, "4"))
    post_all(engine, *(move(item, quantity, day=quantity) for item in ("U", "K") for quantity in (-3, 5)))
    value_all(engine)
    assert number(engine, "select string_agg(distinct item, ',') from stock_values where uncosted") == "U"
    assert [row[1] for row in valued(engine, "K")] == [-12, 20]


def test_the_places_sum_to_the_item_to_the_cent(engine: Engine) -> None:
    prepare(engine, ("A", MATERIAL, None))
    post_all(engine, *(move("A", 1, "3.333333", place=place, key=place) for place in ("MAIN", "SHOP", "COLD")))
    value_all(engine)
    with engine.begin() as connection:
        holdings = stock_value(connection)
        assert totals(holdings, "group") == {MATERIAL: Decimal("10.00")}
        assert sorted(totals(holdings, "location").values()) == [Decimal("3.33"), Decimal("3.33"), Decimal("3.34")]


def test_the_value_of_a_day_is_that_of_its_end_in_the_companys_zone(engine: Engine) -> None:
    prepare(engine, ("A", MATERIAL, None))
    late = datetime(2026, 3, 31, 22, 30, tzinfo=UTC)  # half past midnight on the first of April in Berlin
    post_all(
        engine,
        move("A", 10, "2", place="MAIN"),
        Movement("april", "issue", "A", "MAIN", "CUSTOMER", Decimal(4), late),
    )
    value_all(engine)
    with engine.begin() as connection:
        assert totals(stock_value(connection, on=date(2026, 3, 1)), "item") == {}
        assert totals(stock_value(connection, on=date(2026, 3, 31)), "item") == {"A": 20}
        assert totals(stock_value(connection, on=date(2026, 4, 1)), "item") == {"A": 12}


def test_who_posts_does_not_wait_for_who_values(engine: Engine) -> None:
    prepare(engine, ("A", MATERIAL, None))
    post_all(engine, move("A", 10, "2"))
    with engine.begin() as connection:
        value(connection)
        with authored(engine, actor="system:test") as other:
            other.execute(text("set local lock_timeout = '1s'"))
            post(other, [move("A", 10, "4", day=1)])
    assert value_all(engine) == Tally(items=1, valued=1)
    assert unreconciled(engine) == []


def test_posting_and_valuing_at_once_loses_nothing(engine: Engine) -> None:
    items = ["A", "B", "C"]
    prepare(engine, *((item, group, "1") for item, group in zip(items, (MATERIAL, GOODS, GOODS), strict=True)))
    done = threading.Event()
    faults: list[BaseException] = []

    def poster(name: int) -> None:
        dice = random.Random(name)
        try:
            for turn in range(25):
                post_all(
                    engine,
                    *(
                        move(dice.choice(items), dice.choice([-3, 2, 5]), key=f"{name}/{turn}/{n}", day=dice.random())
                        for n in range(4)
                    ),
                )
        except BaseException as fault:
            faults.append(fault)

    def valuer(skip_busy: bool) -> None:
        try:
            while not done.is_set():
                with engine.begin() as connection:
                    value(connection, skip_busy=skip_busy)
        except BaseException as fault:
            faults.append(fault)

    posters = [threading.Thread(target=poster, args=(name,)) for name in range(3)]
    valuers = [threading.Thread(target=valuer, args=(skip,)) for skip in (True, False)]
    for thread in posters + valuers:
        thread.start()
    for thread in posters:
        thread.join()
    done.set()
    for thread in valuers:
        thread.join()
    assert not faults
    value_all(engine)
    assert number(engine, "select count(*) from stock_values") == 300
    assert number(engine, "select count(*) from stock_unvalued") == 0
    assert unreconciled(engine) == []


def test_who_skips_what_is_busy_leaves_it_for_later(engine: Engine) -> None:
    prepare(engine, ("A", MATERIAL, None), ("B", MATERIAL, None))
    post_all(engine, move("A", 1, "1"), move("B", 1, "1"))
    with engine.begin() as connection:
        value(connection, ["A"])
        with engine.begin() as other:
            assert value(other, skip_busy=True) == Tally(items=1, valued=1)
    assert number(engine, "select count(*) from stock_values") == 2


def test_a_valuer_that_is_killed_leaves_its_work_to_the_next(engine: Engine) -> None:
    prepare(engine, *((f"K{n}", GOODS, None) for n in range(5)))
    post_all(engine, *(move(f"K{n}", 5, "2") for n in range(5)))
    url = engine.url.render_as_string(hide_password=False)
    program = (
        "import sys, time\nfrom include.data.database import connect\nfrom include.stock.valuation import value\n"
        "with connect(sys.argv[1]).begin() as connection:\n"
        "    print(value(connection).valued, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, url], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "5\n"
        os.kill(process.pid, signal.SIGKILL)
    _until(engine, "select count(*) from pg_stat_activity where state = 'idle in transaction'", 0)
    assert number(engine, "select count(*) from stock_values") == 0
    assert number(engine, "select count(*) from stock_unvalued") == 5
    assert value_all(engine) == Tally(items=5, valued=5)


def test_the_database_refuses_to_forget_a_value(engine: Engine) -> None:
    prepare(engine, ("A", MATERIAL, None))
    post_all(engine, move("A", 1, "1"), move("A", -1, day=1))
    value_all(engine)
    post_all(engine, move("A", 1, "3", day=-1))
    value_all(engine)
    assert number(engine, "select count(*) from stock_revaluations") == 1
    for statement in (
        "delete from stock_values",
        "update stock_values set moved_at = now()",
        "update stock_revaluations set value_before = 0",
        "delete from stock_revaluations",
    ):
        with pytest.raises(DBAPIError), engine.begin() as connection:
            connection.execute(text(statement))


def _until(engine: Engine, query: str, wanted: object) -> None:
    patience = time.monotonic() + 10
    while number(engine, query) != wanted:
        assert time.monotonic() < patience
        time.sleep(0.05)


def test_the_largest_quantity_at_the_largest_cost_stops_nobody(engine: Engine) -> None:
    prepare(engine, ("HUGE", MATERIAL, None), ("A", MATERIAL, None))
    post_all(
        engine,
        *(move("HUGE", 499_999_999_999, "999999999999.999999", place=place, key=place) for place in ("MAIN", "SHOP")),
    )
    post_all(engine, move("HUGE", -1, day=1), move("A", 1, "1"))
    assert value_all(engine) == Tally(items=2, valued=4)
    assert unreconciled(engine) == []
