"""A closed month takes nothing, changes nothing, and stood as it says."""

from __future__ import annotations

import threading
import time
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from include.data.database import authored
from include.stock import valuation
from include.stock.ledger import Movement, NotPostable, post
from include.stock.periods import Closed, NotClosable, close, closed_until
from include.stock.valuation import stock_value, totals
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

MARCH, APRIL, MAY = date(2026, 3, 1), date(2026, 4, 1), date(2026, 5, 1)
END_OF_MARCH = datetime(2026, 3, 31, 22, tzinfo=UTC)
LATER = datetime(2026, 7, 1, tzinfo=UTC)


def close_month(engine: Engine, month: date, now: datetime = LATER) -> Closed:
    with authored(engine, actor="system:test") as connection:
        return close(connection, month, "user:ada", now=now)


def test_what_stood_at_its_end_is_kept(engine: Engine) -> None:
    prepare(engine, ("A", MATERIAL, None), ("F", GOODS, None), ("NEW", GOODS, None), ("STILL", GOODS, None))
    for item in ("A", "F"):
        post_all(engine, move(item, 10, "10"), move(item, 10, "20", day=1), move(item, -5, day=2))
        post_all(engine, move(item, -5, day=40))
    post_all(engine, move("STILL", 2, "1"), move("NEW", 1, "100", day=40))
    assert close_month(engine, MARCH) == Closed(MARCH, END_OF_MARCH, 3, Decimal(225 + 250 + 2))
    with engine.connect() as connection:
        kept = connection.execute(text("select item, quantity, value, layers from stock_period_values order by item"))
        assert [(row.item, row.quantity, row.value, len(row.layers)) for row in kept] == [
            ("A", 15, 225, 0),
            ("F", 15, 250, 2),
            ("STILL", 2, 2, 1),
        ]
        places = connection.execute(text("select item, quantity from stock_period_balances where location = 'SHOP'"))
        assert {tuple(row) for row in places} == {("A", 15), ("F", 15), ("STILL", 2)}
        assert closed_until(connection) == END_OF_MARCH
        assert totals(stock_value(connection, on=date(2026, 3, 31)), "item") == {"A": 225, "F": 250, "STILL": 2}
        assert totals(stock_value(connection), "item") == {"A": 150, "F": 200, "NEW": 100, "STILL": 2}
    assert number(engine, "select closed_by from stock_periods") == "user:ada"
    assert close_month(engine, APRIL).value == 150 + 200 + 2 + 100
    assert unreconciled(engine) == []


def test_months_close_once_in_order_and_when_they_are_over(engine: Engine) -> None:
    prepare(engine, ("A", MATERIAL, None))
    with pytest.raises(NotClosable, match=r"2026-03 is not over before 2026-04-01 00:00 CEST"):
        close_month(engine, MARCH, END_OF_MARCH - timedelta(seconds=1))
    with engine.connect() as connection:
        assert closed_until(connection) is None
    close_month(engine, date(2026, 3, 17), END_OF_MARCH)
    with pytest.raises(NotClosable, match="2026-03 is closed already"):
        close_month(engine, MARCH)
    with pytest.raises(NotClosable, match="2026-03"):
        close_month(engine, date(2026, 2, 1))
    with pytest.raises(NotClosable, match="close 2026-04 before 2026-05"):
        close_month(engine, MAY)
    close_month(engine, APRIL)
    assert number(engine, "select count(*) from stock_periods") == 2


def test_a_year_ends_with_december(engine: Engine) -> None:
    prepare(engine)
    closed = close_month(engine, date(2025, 12, 1))
    assert closed.ends_at == datetime(2025, 12, 31, 23, tzinfo=UTC)


def test_a_closed_month_refuses_movements_and_values(engine: Engine) -> None:
    prepare(engine, ("F", GOODS, None))
    post_all(engine, move("F", 10, "10"), move("F", -4, day=1), move("F", -1, day=40))
    close_month(engine, MARCH)
    before = valued(engine, "F")
    with pytest.raises(NotPostable) as refused:
        post_all(engine, move("F", 1, "5", day=2))
    assert refused.value.code == "period.closed"
    for statement in (
        "update stock_values set value = 1 where movement_id = (select min(movement_id) from stock_values)",
        "insert into stock_values select 999, item, moved_at, 1, 1 from stock_values order by moved_at limit 1",
        "update stock_closing set closed_until = '2026-01-01'",
        "delete from stock_closing",
        "delete from stock_period_values",
        "update stock_period_values set value = 0",
        "update stock_period_balances set quantity = 0",
        "update stock_periods set ends_at = now()",
    ):
        with pytest.raises(DBAPIError), engine.begin() as connection:
            connection.execute(text(statement))
    assert valued(engine, "F") == before


@pytest.mark.parametrize("group", [MATERIAL, GOODS])
def test_what_is_late_in_the_open_month_starts_from_the_closed_one(
    engine: Engine, group: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(valuation, "CHECKPOINT_EVERY", 2)
    prepare(engine, ("X", group, None), ("Y", group, None))
    for item in ("X", "Y"):
        post_all(engine, *(move(item, 3, f"{day}.07", day=day) for day in range(1, 12)), move(item, -17, day=12))
    post_all(engine, move("X", 5, "30", day=40), move("X", -9, day=50))
    close_month(engine, MARCH)
    assert number(engine, "select count(*) from stock_checkpoints where upto_at < '2026-03-31 22:00Z'") == 0
    post_all(engine, move("Y", -9, day=50), move("Y", 5, "30", day=40))
    value_all(engine)
    post_all(engine, *(move(item, -2, day=35) for item in ("Y", "X")))
    assert value_all(engine).valued == 2
    assert valued(engine, "X") == valued(engine, "Y")
    assert number(engine, "select min(m.moved_at) from stock_revaluations r join stock_movements m"
                          " on m.id = r.movement_id") >= END_OF_MARCH  # fmt: skip
    assert unreconciled(engine) == []


def test_a_group_that_changes_its_method_does_so_with_the_open_month(engine: Engine) -> None:
    prepare(engine, ("X", GOODS, None))
    post_all(engine, move("X", 10, "10"), move("X", 10, "20", day=1), move("X", -5, day=2), move("X", -5, day=40))
    close_month(engine, MARCH)
    with authored(engine, actor="system:test") as connection:
        connection.execute(text("update stock_items set item_group = 'material' where code = 'X'"))
    post_all(engine, move("X", -5, day=41))
    value_all(engine)
    assert [row[1] for row in valued(engine, "X")] == [
        100, 200, -50, Decimal("-83.333333"), Decimal("-83.333334"),
    ]  # fmt: skip
    assert number(engine, "select count(*) from stock_revaluations") == 1
    assert unreconciled(engine) == []


def test_closing_waits_for_who_posts_and_who_posts_waits_for_closing(engine: Engine) -> None:
    prepare(engine, ("A", MATERIAL, None))
    outcomes: list[Any] = []

    def closing() -> None:
        outcomes.append(close_month(engine, MARCH).value)

    def late() -> None:
        try:
            post_all(engine, move("A", 1, "2", day=3, key="too late"))
            outcomes.append("posted")
        except NotPostable as refused:
            outcomes.append(refused.code)

    with authored(engine, actor="system:test") as poster:
        post(poster, [move("A", 10, "2")])
        first = threading.Thread(target=closing)
        first.start()
        _until_waiting(engine, 1)
        second = threading.Thread(target=late)  # comes after the closing, and queues behind it
        second.start()
        _until_waiting(engine, 2)
        assert outcomes == []
    first.join(10)
    second.join(10)
    assert outcomes == [20, "period.closed"]
    assert number(engine, "select count(*) from stock_movements where moved_at < '2026-03-31 22:00Z'") == 1


def test_nobody_slips_into_a_month_that_closes(engine: Engine) -> None:
    """Many post into March and April while March closes: what was taken is in the closing, to the piece."""
    prepare(engine, *((item, MATERIAL, None) for item in ("A", "B")))
    refused: list[str] = []

    def poster(name: int) -> None:
        for turn in range(30):
            try:
                post_all(
                    engine, *(move(item, 1, "3", day=turn % 2 * 40, key=f"{name}/{turn}/{item}") for item in ("A", "B"))
                )
            except NotPostable as error:
                refused.append(error.code)

    threads = [threading.Thread(target=poster, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.1)
    closed = close_month(engine, MARCH)
    for thread in threads:
        thread.join()
    assert set(refused) <= {"period.closed"}
    in_march = "select coalesce(sum(quantity), 0) from stock_movements where moved_at < '2026-03-31 22:00Z'"
    assert number(engine, in_march) * 3 == closed.value
    value_all(engine)
    assert unreconciled(engine) == []


def test_a_closing_that_fails_closes_nothing(engine: Engine) -> None:
    prepare(engine, ("A", MATERIAL, None))
    post_all(engine, move("A", 1, "2"))
    with authored(engine, actor="system:test") as connection:
        close(connection, MARCH, "user:ada", now=LATER)
        connection.rollback()
    assert number(engine, "select count(*) from stock_periods") == 0
    post_all(engine, Movement("m", "receipt", "A", "SUPPLIER", "MAIN", Decimal(1), START, unit_cost=Decimal(4)))
    assert close_month(engine, MARCH).value == 6


def test_the_form_tells_first_and_closes_when_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from waybill.operators import stock_periods
    from waybill.operators.stock_periods import ClosePeriodOperator

    prepare(engine, ("A", MATERIAL, None))
    post_all(engine, move("A", 3, "2"))
    monkeypatch.setattr(stock_periods, "engine", lambda: engine)
    task = ClosePeriodOperator(task_id="close")

    def trigger(month: str | None, dry_run: bool) -> dict[str, Any]:
        run = type("Run", (), {"triggering_user_name": "ada"})()
        return task.execute({"params": {"month": month, "dry_run": dry_run}, "run_id": "manual", "dag_run": run})

    told = {"month": "2026-03", "items": 1, "value": "6.00"}
    assert trigger("2026-03", True) == {**told, "closed": False}
    assert number(engine, "select count(*) from stock_periods") == 0
    assert trigger("2026-03", False) == {**told, "closed": True}
    assert number(engine, "select closed_by from stock_periods") == "user:ada"
    with pytest.raises(AirflowFailException, match="closed already"):
        trigger("2026-03", False)
    with pytest.raises(AirflowFailException, match="no month"):
        trigger(None, True)
    with pytest.raises(AirflowFailException, match="not over"):
        trigger("2999-01", True)


def _until_waiting(engine: Engine, wanted: int) -> None:
    patience = time.monotonic() + 10
    query = "select count(*) from pg_locks where locktype = 'advisory' and not granted and database is not null"
    while number(engine, query) < wanted:
        assert time.monotonic() < patience
        time.sleep(0.02)
