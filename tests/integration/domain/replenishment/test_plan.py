"""A place that runs short is asked for once, with the right figures, whatever plans how often and at which instant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from math import sqrt
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import URL, Engine, text
from sqlalchemy.exc import IntegrityError

from include.data.database import authored
from include.domain.replenishment.figures import Window, figures
from include.stock.items import Item
from include.stock.ledger import Place
from include.stock.reservations import Promise, reserve
from tests.support import stock
from tests.support.orders import add_order, receipt
from tests.support.orders import work as work_receipts
from tests.support.purchases import case
from tests.support.replenishment import (
    FETCHED,
    add_rule,
    move,
    needs,
    now,
    plan_at,
    prepare,
    short,
    today,
    use,
    work,
)
from tests.support.work import assert_balanced, change, rows


@pytest.fixture(autouse=True)
def _prepared(engine: Engine) -> None:
    prepare(engine)


def one(engine: Engine, item: str = "BOLT-8", location: str = "MAIN", **window: Any) -> dict[Any, Any]:
    """The figures of one place."""
    with engine.connect() as connection:
        frame = figures(connection, Window(today(), **window), item=item, location=location)
    (row,) = frame.to_dict("records")
    return row


def test_a_place_that_runs_short_has_a_need_with_its_figures(engine: Engine) -> None:
    short(engine, multiple="25")
    planned = plan_at(engine)
    assert (planned.places, planned.short, planned.opened) == (1, 1, 1)
    (need,) = needs(engine)
    sd = 5 * sqrt(180 / 179)
    point = 5 * 10 + 1.6448536 * sqrt(10) * sd
    told = need["figures"]
    assert told["demand_mean"] == 5
    assert told["demand_sd"] == pytest.approx(sd, abs=1e-5)
    assert float(told["reorder_point"]) == pytest.approx(point, abs=1e-4)
    assert float(told["order_up_to"]) == pytest.approx(point + 5 * 7, abs=1e-4)
    assert (told["on_hand"], told["position"], told["days_without_stock"]) == ("50", "50", 0)
    assert (told["lead_time_from"], told["lead_time_mean"], told["formula"]) == (
        "rule",
        10,
        "normal-lead-time-demand/1",
    )
    assert need["quantity"] == 75, "61.08 are missing, in packs of 25"
    assert need["on_day"] == (today() - timedelta(days=1)).date()
    assert case(engine, need["case_id"]) == ("pending", "capture", None)
    assert_balanced(engine)


def test_a_place_that_has_enough_is_left_alone(engine: Engine) -> None:
    short(engine, left=77)
    assert plan_at(engine).short == 0
    assert needs(engine) == []


def test_a_plan_every_day_for_a_week_asks_once_while_the_request_waits(engine: Engine) -> None:
    short(engine, unit_price="9.90")
    for day in range(7):
        plan_at(engine, today() + timedelta(days=day))
        work(engine)
    (need,) = needs(engine)
    assert case(engine, need["case_id"]) == ("waiting", "await_goods", None)
    assert rows(engine, "select workflow from cases where parent_id = :id", id=need["case_id"]) == [
        {"workflow": "purchase_approval"}
    ]
    assert_balanced(engine)


def test_plans_at_the_same_instant_ask_once(engine: Engine) -> None:
    short(engine)
    add_rule(engine, FETCHED)
    start = threading.Barrier(4)

    def go(_: int) -> int:
        start.wait(30)
        return plan_at(engine).opened

    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(go, range(4)))
    assert sorted(opened) == [0, 0, 0, 2]
    assert [(need["item"], need["location"]) for need in needs(engine)] == [("BOLT-8", "MAIN"), ("BOLT-8", "SHOP")]
    assert rows(engine, "select count(*) as n from cases where workflow = 'replenishment'") == [{"n": 2}]


def test_the_database_itself_refuses_a_second_open_need(engine: Engine) -> None:
    short(engine)
    plan_at(engine)
    with pytest.raises(IntegrityError, match="one_open_need_for_a_place"), authored(engine, actor="x") as connection:
        connection.execute(
            text("""
                insert into replenishment_needs (item, location, on_day, quantity, figures)
                values ('BOLT-8', 'MAIN', current_date, 5, :figures)"""),
            {"figures": Jsonb({})},
        )


def test_a_plan_that_is_killed_in_the_middle_leaves_nothing_and_the_next_one_asks_once(
    engine: Engine, database_url: URL
) -> None:
    short(engine)
    code = (
        "import sys; from datetime import datetime; from include.data.database import connect;"
        "from include.domain.replenishment.plan import plan;"
        "plan(connect(sys.argv[1]), datetime.fromisoformat(sys.argv[2]))"
    )
    with engine.connect() as blocker:
        # the need is written and its case is not: deliveries are held
        blocker.execute(text("lock table deliveries in share mode"))
        process = subprocess.Popen(
            [sys.executable, "-c", code, database_url.render_as_string(hide_password=False), today().isoformat()],
            env={**os.environ, "PYTHONPATH": "."},
        )
        waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%deliveries%'"
        end = time.monotonic() + 60
        while not _count(engine, waiting) and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        assert _count(engine, waiting) == 1
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert needs(engine) == []
    assert plan_at(engine).opened == 1
    assert len(needs(engine)) == 1
    assert_balanced(engine)


def _count(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


def test_a_past_day_takes_its_own_history_and_the_stock_of_now(engine: Engine) -> None:
    stock.stock(engine, "BOLT-8", 200)
    use(engine, every=1, quantity=10, days=10)
    add_rule(engine)
    assert plan_at(engine, today() - timedelta(days=20)).short == 0, "nothing was used up to then"
    assert plan_at(engine).opened == 0, "10 of 180 days use little"
    use(engine, every=1, quantity=2, days=15)
    assert plan_at(engine, today() - timedelta(days=1)).places == 1
    with engine.connect() as connection:
        past = figures(connection, Window(today() - timedelta(days=12)), item="BOLT-8", location="MAIN")
    assert past["total"][0] == 2 * 3, "of 15 days three were before that day's end"
    assert past["on_hand"][0] == 200 - 100 - 30


def test_a_past_day_opens_no_second_need(engine: Engine) -> None:
    short(engine)
    plan_at(engine)
    for day in range(1, 4):
        planned = plan_at(engine, today() - timedelta(days=day))
        assert (planned.opened, planned.open_before) == (0, 1)
    assert len(needs(engine)) == 1


def test_days_without_stock_are_not_days_without_demand(engine: Engine) -> None:
    noon = today() - timedelta(hours=12)
    came, gone = noon - timedelta(days=100), noon - timedelta(days=61)
    move(engine, [("receipt", "SUPPLIER", "MAIN", 400, came - timedelta(hours=1))])
    move(engine, [("issue", "MAIN", "CUSTOMER", 10, came + timedelta(days=day)) for day in range(40)])
    assert came + timedelta(days=39) == gone
    add_rule(engine)
    row = one(engine)
    assert row["days_out"] == 79 + 61, "before it came, and since it was gone"
    assert row["days"] == 40
    assert row["demand"] == pytest.approx(10)
    assert row["demand_sd"] == pytest.approx(0, abs=1e-9)


def test_a_shop_that_may_go_below_zero_has_no_days_without_stock_once_it_sells(engine: Engine) -> None:
    noon = today() - timedelta(hours=12)
    move(engine, [("issue", "SHOP", "CUSTOMER", 3, noon - timedelta(days=day)) for day in (29, 0)])
    add_rule(engine, FETCHED)
    row = one(engine, location="SHOP")
    assert (row["days_out"], row["days"]) == (150, 30)
    assert row["demand"] == pytest.approx(0.2)


def test_only_what_is_used_is_demand(engine: Engine) -> None:
    at = today() - timedelta(days=3, hours=12)
    stock.stock(engine, "BOLT-8", 1000)
    move(
        engine,
        [
            ("issue", "MAIN", "CUSTOMER", 1, at),
            ("consumption", "MAIN", "CONSUMPTION", 2, at),
            ("transfer", "MAIN", "TRANSIT", 4, at),
            ("write_off", "MAIN", "SCRAP", 100, at),
            ("adjustment", "MAIN", "ADJUSTMENT", 100, at),
            ("supplier_return", "MAIN", "SUPPLIER", 100, at),
            ("issue", "MAIN", "CUSTOMER", 100, at),
        ],
    )
    change(
        engine,
        """insert into stock_movements (key, kind, item, source, destination, quantity, moved_at, reverses)
           select 'back/' || id, 'reversal', item, destination, source, quantity, moved_at, id
           from stock_movements where kind = 'issue' and quantity = 100""",
    )
    add_rule(engine)
    assert one(engine)["total"] == 7


def test_what_is_reserved_ordered_received_or_expired_counts(engine: Engine) -> None:
    stock.stock(engine, "BOLT-8", 30)
    add_rule(engine, method="min_max", minimum="100", maximum="200", reorder_point=None)
    waits = stock.request(engine, "issue", {"item": "BOLT-8", "quantity": 12})
    with authored(engine, actor="system:test") as connection:
        reserve(connection, waits, [Promise(1, Place("BOLT-8", "MAIN"), Decimal(12))], now() + timedelta(days=1))
    add_order(engine, {"item": "BOLT-8", "quantity": 2, "unit": "box"}, category="material")
    add_order(engine, {"item": "BOLT-8", "quantity": 50}, category="office")
    row = one(engine)
    assert (row["on_hand"], row["reserved"], row["on_order"]) == (30, 12, 200)
    assert row["position"] == 218
    assert plan_at(engine).short == 0

    order = add_order(engine, {"item": "BOLT-8", "quantity": 40, "unit": "pcs"}, category="material")
    receipt(engine, order, {"order_line": 1, "quantity": 25})
    work_receipts(engine, "goods_receipt")
    row = one(engine)
    assert (row["on_order"], row["being_put_away"]) == (215, 25), "received, and not in the stock yet"
    assert row["position"] == 258


def test_lots_that_are_past_their_day_are_not_there(engine: Engine) -> None:
    stock.stock(engine, "FLOUR", 30, lot="L1", expires_on="2026-02-01")
    stock.stock(engine, "FLOUR", 5, lot="L2", expires_on="2099-01-01")
    add_rule(engine, item="FLOUR", method="min_max", minimum="10", maximum="20", multiple="2.5", category="material")
    row = one(engine, "FLOUR")
    assert (row["on_hand"], row["expired"]) == (5, 30)
    assert plan_at(engine).opened == 1
    assert needs(engine, "quantity") == [{"quantity": Decimal(15)}]


def test_back_orders_and_what_other_places_ask_for_count_against_a_place(engine: Engine) -> None:
    stock.stock(engine, "BOLT-8", 5)
    waits = stock.request(engine, "issue", {"item": "BOLT-8", "quantity": 9})
    add_rule(engine, method="min_max", minimum="0", maximum="50")
    add_rule(engine, FETCHED)
    stock.work(engine)
    assert rows(engine, "select quantity from stock_balances where location = 'MAIN'") == [{"quantity": Decimal(0)}]
    assert waits
    stock.work(engine)  # the rest is a request of its own
    row = one(engine)
    assert row["back_ordered"] == 4
    assert plan_at(engine).opened == 2
    row = one(engine)
    assert row["asked_by_others"] == 60
    assert row["position"] == -64


def test_what_is_under_way_counts_at_its_destination(engine: Engine) -> None:
    stock.stock(engine, "BOLT-8", 100)
    add_rule(engine, FETCHED)
    stock.request(
        engine, "transfer", {"item": "BOLT-8", "quantity": 45}, location=None, **{"from": "MAIN", "to": "SHOP"}
    )
    stock.work(engine)
    assert rows(engine, "select state from stock_transfers") == [{"state": "under way"}]
    row = one(engine, location="SHOP")
    assert (row["on_hand"], row["under_way"], row["position"]) == (0, 45, 45)
    assert plan_at(engine).short == 0


def test_lead_times_come_from_history_where_the_rule_has_none(engine: Engine) -> None:
    short(engine, lead_time_days=None)
    row = one(engine)
    assert (row["lead_time"], row["lead_time_from"], row["lead_time_sd"]) == (14, "assumed", 0)
    for days in (4, 6, 8):
        change(
            engine,
            """insert into replenishment_needs (item, location, on_day, quantity, figures, opened_at, arrived_at,
                                                closed_at, outcome)
               values ('BOLT-8', 'MAIN', current_date, 1, '{}', :opened, :arrived, now(), 'replenished')""",
            opened=now() - timedelta(days=90),
            arrived=now() - timedelta(days=90 - days),
        )
    row = one(engine)
    assert (row["lead_time_from"], row["times"]) == ("history", 3)
    assert row["lead_time"] == pytest.approx(6)
    assert row["lead_time_sd"] == pytest.approx(2)
    with engine.connect() as connection:
        before = figures(connection, Window(today() - timedelta(days=88)))
    assert before["times"][0] == 0, "what came later was not known then"


def test_purchases_that_people_made_are_history_of_lead_times(engine: Engine) -> None:
    short(engine, lead_time_days=None)
    for days in (2, 4, 6):
        order = add_order(engine, {"item": "BOLT-8", "quantity": 10}, category="material")
        change(engine, "update cases set created_at = :at where id = :id", at=today() - timedelta(days=20), id=order.id)
        received = (today() - timedelta(days=20 - days)).date().isoformat()
        receipt(engine, order, {"order_line": 1, "quantity": 10}, received_on=received)
    work_receipts(engine, "goods_receipt")
    change(engine, "update goods_receipts set recorded_at = recorded_at - interval '2 days'")
    row = one(engine)
    assert (row["lead_time_from"], row["times"]) == ("history", 3)
    assert row["lead_time"] == pytest.approx(4)


@pytest.mark.parametrize(
    ("more", "point", "up_to"),
    [
        ({"reorder_point": "60"}, 60, 95),
        ({"reorder_point": "60", "maximum": "150"}, 60, 150),
        ({"minimum": "500"}, 500, 535),
        ({"method": "min_max", "minimum": "60", "maximum": "90"}, 60, 90),
        ({"service_level": "0.5"}, 50, 85),
        ({"lead_time_days": "0", "maximum": "10"}, 0, 10),
    ],
)
def test_a_rule_says_how_its_levels_come_about(
    engine: Engine, more: dict[str, Any], point: float, up_to: float
) -> None:
    short(engine, **more)
    row = one(engine)
    assert (row["point"], row["up_to"]) == (pytest.approx(point), pytest.approx(up_to))


def test_rules_that_are_off_and_items_that_are_gone_are_not_planned(engine: Engine) -> None:
    short(engine)
    add_rule(engine, method="off")
    add_rule(engine, item="OLD-1")
    assert plan_at(engine).places == 0


def test_an_order_is_never_finer_than_purchasing_can_keep(engine: Engine) -> None:
    stock.prepare(engine, Item("DYE", "Dye", "material", "kg", decimals=6))
    add_rule(engine, item="DYE", method="min_max", minimum="1", maximum="1.000001")
    plan_at(engine)
    assert needs(engine, "quantity") == [{"quantity": Decimal("1.0001")}]
