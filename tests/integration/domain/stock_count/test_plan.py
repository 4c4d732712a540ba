"""Cycle counts: each place in its turn, each day once, over any range of days."""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from include.cases import store
from include.data.database import authored
from include.domain.stock_count.plan import Planned, plan_day
from include.stock.counting import Count, differences_of_count, record_counts, settle_counts
from include.stock.items import Item
from include.stock.ledger import Movement, post
from tests.support.counts import planned, work
from tests.support.stock import prepare, stock
from tests.support.work import receive, rows

MONDAY = date(2026, 3, 2)
LATER = MONDAY + timedelta(days=364)
"""A Monday on which everything that was there a year before is due."""
DAY = timedelta(days=1)


def _fill(engine: Engine, count: int, abc: str = "A") -> list[str]:
    """Put so many items into MAIN."""
    codes = [f"{abc}-{n:03}" for n in range(count)]
    prepare(engine, *(Item(code, f"Item {code}", "goods", "pcs", abc=abc) for code in codes))
    with authored(engine, actor="system:test") as connection:
        at = datetime(2026, 1, 2, tzinfo=UTC)
        post(connection, [Movement(f"o/{c}", "receipt", c, "SUPPLIER", "MAIN", Decimal(7), at) for c in codes])
    return codes


def _settle(engine: Engine, item: str, at: datetime) -> None:
    """Let a place be counted without a difference."""
    (case,) = receive(engine, workflow="stock_request", source="stock-form")
    with authored(engine, actor="system:test") as connection:
        counts = [Count(case, 1, item, "MAIN", Decimal(7), at)]
        record_counts(connection, [case], differences_of_count(connection, counts))
        settle_counts(connection, [case])


def test_a_day_is_planned_once(engine: Engine) -> None:
    _fill(engine, 300)
    assert plan_day(engine, MONDAY)["MAIN"].sheets == 1
    first = planned(engine)
    assert 0 < len(first) <= 25
    assert plan_day(engine, MONDAY) == {}
    assert planned(engine) == first
    kept = rows(engine, "select location, sheets from count_plans where day = :day order by location", day=MONDAY)
    assert [(row["location"], row["sheets"]) for row in kept] == [("COLD", 0), ("MAIN", 1), ("SHOP", 0)]


def test_sheets_name_a_person_who_may_count_and_no_quantity(engine: Engine) -> None:
    _fill(engine, 300)
    plan_day(engine, MONDAY)
    (row,) = rows(engine, "select convert_from(body, 'UTF8')::jsonb as document, key from deliveries")
    assert row["key"] == "id:2026-03-02/MAIN/1"
    document = row["document"]
    assert (document["number"], document["counter"], document["blind"]) == ("CS-20260302-MAIN-1", "olaf.winter", True)
    assert {tuple(line) for line in document["lines"]} == {("lot", "item", "class")}


def test_a_day_takes_so_much_and_the_rest_comes_next(engine: Engine) -> None:
    codes = _fill(engine, 130)
    plan_day(engine, MONDAY - 364 * DAY)
    before = len(planned(engine))
    assert plan_day(engine, MONDAY)["MAIN"] == Planned(4, 130 - before - 100)
    assert len(planned(engine)) == before + 100
    plan_day(engine, MONDAY + DAY)
    assert sorted(item for _, _, item, _ in planned(engine)) == codes


def test_a_past_range_is_planned_as_its_days_would_have_been_and_nothing_twice(engine: Engine) -> None:
    codes = _fill(engine, 200)
    days = [MONDAY + n * DAY for n in range(30)]
    for day in days:
        plan_day(engine, day)
    once = planned(engine)
    assert sorted(item for _, _, item, _ in once) == codes
    a_day = [sum(day == each for each, *_ in once) for day in days]
    assert max(a_day) < 40, "the first round is spread over the interval"
    assert {each.weekday() for each, *_ in once} <= set(range(5))
    for day in days:
        assert plan_day(engine, day) == {}
    assert planned(engine) == once


def test_days_in_any_order_put_no_place_on_two_open_sheets(engine: Engine) -> None:
    codes = _fill(engine, 60)
    for n in (25, 3, 11, 28, 0, 18, 7, 29):
        plan_day(engine, MONDAY + n * DAY)
    items = [item for _, _, item, _ in planned(engine)]
    assert len(items) == len(set(items))
    assert set(items) <= set(codes)


def test_what_is_counted_rests_for_its_interval(engine: Engine) -> None:
    _fill(engine, 2)
    _settle(engine, "A-000", datetime(2026, 3, 20, 9, tzinfo=UTC))
    _settle(engine, "A-001", datetime(2026, 2, 2, 9, tzinfo=UTC))
    plan_day(engine, date(2026, 3, 4))
    assert [item for _, _, item, _ in planned(engine)] == ["A-001"]
    plan_day(engine, date(2026, 4, 17))
    assert [item for _, _, item, _ in planned(engine)] == ["A-001"]
    plan_day(engine, date(2026, 4, 20))
    assert [item for _, _, item, _ in planned(engine)] == ["A-001", "A-000"]


def test_what_something_back_dated_overtook_is_due_at_once(engine: Engine) -> None:
    _fill(engine, 1)
    counted = datetime(2026, 3, 2, 9, tzinfo=UTC)
    _settle(engine, "A-000", counted)
    plan_day(engine, MONDAY + DAY)
    assert planned(engine) == []
    with authored(engine, actor="system:test") as connection:
        late = Movement("late", "issue", "A-000", "MAIN", "CUSTOMER", Decimal(1), counted - timedelta(hours=1))
        post(connection, [late])
    plan_day(engine, MONDAY + 2 * DAY)
    assert [(day, item) for day, _, item, _ in planned(engine)] == [(MONDAY + 2 * DAY, "A-000")]


def test_a_discarded_sheet_is_due_again(engine: Engine) -> None:
    _fill(engine, 1)
    plan_day(engine, MONDAY - 364 * DAY)
    plan_day(engine, MONDAY)
    work(engine)
    (case,) = rows(engine, "select id, state from cases")
    assert case["state"] == "waiting"
    plan_day(engine, MONDAY + DAY)
    assert len(planned(engine)) == 1
    store.discard(engine, [case["id"]], reason="the shelf is being moved", actor="user:lena.hoffmann")
    plan_day(engine, MONDAY + 2 * DAY)
    assert len(planned(engine)) == 2


def test_each_lot_is_a_line_and_nothing_is_none(engine: Engine) -> None:
    prepare(engine)
    stock(engine, "FLOUR", "2.5", lot="L1")
    stock(engine, "FLOUR", 3, lot="L2")
    stock(engine, "BOLT-8", 5, "SHOP")
    stock(engine, "VACCINE", 2, "COLD")
    with authored(engine, actor="system:test") as connection:
        gone = Movement("gone", "issue", "VACCINE", "COLD", "CUSTOMER", Decimal(2), datetime(2026, 1, 3, tzinfo=UTC))
        post(connection, [gone])
    plan_day(engine, MONDAY)
    plan_day(engine, LATER)
    assert sorted((location, item, lot) for _, location, item, lot in planned(engine)) == [
        ("MAIN", "FLOUR", "L1"),
        ("MAIN", "FLOUR", "L2"),
        ("SHOP", "BOLT-8", ""),
    ]


@pytest.mark.parametrize("day", [date(2026, 3, 1), date(2026, 12, 25)])
def test_nothing_is_planned_where_nobody_works(engine: Engine, day: date) -> None:
    _fill(engine, 50)
    assert plan_day(engine, day) == {}
    assert rows(engine, "select 1 from count_plans") == []


def test_a_plan_that_is_killed_in_the_middle_leaves_nothing_and_is_made_anew(engine: Engine) -> None:
    """The sheets are handed over already when its connection is cut, for another transaction keeps it from going on."""
    _fill(engine, 130)
    failed: list[BaseException] = []

    def plan() -> None:
        try:
            plan_day(engine, MONDAY)
        except OperationalError as error:
            failed.append(error)

    with engine.connect() as connection:
        connection.execute(text("lock table count_plans in share row exclusive mode"))
        thread = threading.Thread(target=plan)
        thread.start()
        waiting = "select pid from pg_stat_activity where wait_event_type = 'Lock' and query like '%count_plans%'"
        for _ in range(200):
            if found := rows(engine, waiting):
                break
            time.sleep(0.05)
        rows(engine, "select pg_terminate_backend(:pid)", pid=found[0]["pid"])
        thread.join(10)
        connection.rollback()
    assert failed
    assert planned(engine) == []
    assert plan_day(engine, MONDAY)["MAIN"].sheets == 1
    assert planned(engine)
