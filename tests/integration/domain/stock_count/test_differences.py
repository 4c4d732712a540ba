"""From a count to a posted difference, while stock moves, people decide and runs die."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from include.cases import store
from include.data.database import authored
from include.stock.ledger import Movement, post
from tests.support.counts import enter, sheet
from tests.support.counts import work as work_sheets
from tests.support.stock import (
    WORKFLOW,
    answer,
    approved,
    claim,
    lines,
    of,
    on_hand,
    prepare,
    reasons,
    request,
    state,
    stock,
    take,
    work,
)
from tests.support.work import assert_balanced, rows

NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)
_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _stock(engine: Engine) -> None:
    prepare(engine)
    stock(engine, "BOLT-8", 100)
    stock(engine, "LAMP", 100, unit_cost=40)


def _count(engine: Engine, item: str, counted: object, at: datetime = NOW, **more: Any) -> int:
    return request(
        engine, "count", {"item": item, "quantity": str(counted)}, occurred_at=at.isoformat(), requester="olaf.winter",
        **more,
    )  # fmt: skip


def _sell(engine: Engine, item: str, quantity: int, at: datetime) -> None:
    movement = Movement(f"sold/{next(_numbers)}", "issue", item, "MAIN", "CUSTOMER", Decimal(quantity), at)
    with authored(engine, actor="system:test") as connection:
        post(connection, [movement])


def _posted(engine: Engine, case: int) -> list[tuple[str, str, Decimal]]:
    found = rows(
        engine, "select source, destination, quantity from stock_movements where case_id = :id order by id", id=case
    )
    return [(row["source"], row["destination"], row["quantity"]) for row in found]


def test_a_small_difference_moves_at_the_moment_of_counting(engine: Engine) -> None:
    _sell(engine, "BOLT-8", 5, NOW - HOUR)
    case = _count(engine, "BOLT-8", 98, NOW - 2 * HOUR)
    work(engine)
    assert state(engine, case)[0] == "finished"
    assert _posted(engine, case) == [("MAIN", "ADJUSTMENT", 2)]
    (moved,) = rows(engine, "select moved_at from stock_movements where case_id = :id", id=case)
    assert moved["moved_at"] == NOW - 2 * HOUR
    assert on_hand(engine, "BOLT-8") == 93


def test_more_than_the_books_say_comes_from_adjustments(engine: Engine) -> None:
    case = _count(engine, "BOLT-8", 104)
    work(engine)
    assert _posted(engine, case) == [("ADJUSTMENT", "MAIN", 4)]
    (line,) = lines(engine, case)
    assert (line["counted"], line["expected"], line["quantity"], line["verdict"]) == (104, 100, 4, "posted")


def test_a_line_without_a_difference_is_nothing_and_moves_nothing(engine: Engine) -> None:
    case = request(
        engine, "count", {"item": "BOLT-8", "quantity": 100}, {"item": "LAMP", "quantity": 99}, requester="olaf.winter"
    )
    work(engine)
    if state(engine, case)[0] == "waiting":
        approved(engine, case)
        work(engine)
    assert [line["verdict"] for line in lines(engine, case)] == ["nothing", "posted"]
    assert _posted(engine, case) == [("MAIN", "ADJUSTMENT", 1)]


def test_a_place_that_is_counted_on_two_lines_is_set_aside(engine: Engine) -> None:
    case = request(
        engine, "count", {"item": "BOLT-8", "quantity": 60}, {"item": "BOLT-8", "quantity": 40}, requester="olaf.winter"
    )
    work(engine)
    assert reasons(engine, case) == ["line.counted_twice"]
    assert _posted(engine, case) == []


def test_whoever_may_not_post_there_counts_nothing(engine: Engine) -> None:
    case = request(engine, "count", {"item": "BOLT-8", "quantity": 90}, requester="jonas.braun")
    work(engine)
    assert state(engine, case)[0] == "quarantined"
    assert on_hand(engine, "BOLT-8") == 100


def test_what_is_posted_late_before_the_difference_is_sends_the_count_back(engine: Engine) -> None:
    case = _count(engine, "BOLT-8", 92, NOW - HOUR)
    position = claim(engine)
    assert position
    for step in ("read_request", "validate", "route", "reserve", "approve"):
        take(engine, position, step)
    assert lines(engine, case)[0]["quantity"] == -8
    _sell(engine, "BOLT-8", 6, NOW - 5 * HOUR)
    take(engine, position, "post")
    assert (state(engine, case)[:2], _posted(engine, case)) == (("pending", "route"), [])
    assert lines(engine, case)[0]["quantity"] == -2
    work(engine)
    assert _posted(engine, case) == [("MAIN", "ADJUSTMENT", 2)]
    assert on_hand(engine, "BOLT-8") == 92
    assert_balanced(engine)


def test_a_run_that_dies_at_any_step_posts_the_difference_once(engine: Engine) -> None:
    case = _count(engine, "BOLT-8", 97)
    steps = ("read_request", "validate", "route", "reserve", "approve", "post", "update_erp", "value", "receive", "log")
    for died_after in range(4):
        position = claim(engine)
        assert position
        at = steps.index(state(engine, case)[1])
        for step in steps[at : at + died_after]:
            take(engine, position, step)
        store.put_back_run(engine, WORKFLOW, run_id=position.run_id)
    work(engine)
    assert state(engine, case)[0] == "finished"
    assert _posted(engine, case) == [("MAIN", "ADJUSTMENT", 3)]
    assert on_hand(engine, "BOLT-8") == 97
    assert_balanced(engine)


def test_two_counts_of_a_place_at_once_take_it_away_once(engine: Engine) -> None:
    older = _count(engine, "BOLT-8", 97, NOW - 2 * HOUR)
    newer = _count(engine, "BOLT-8", 97, NOW - HOUR)
    work(engine)
    assert (state(engine, newer)[0], state(engine, older)[:2]) == ("finished", ("pending", "post"))
    while state(engine, older)[0] == "pending":
        work(engine)
    assert state(engine, older)[0] == "finished"
    assert (_posted(engine, newer), _posted(engine, older)) == ([("MAIN", "ADJUSTMENT", 3)], [])
    assert on_hand(engine, "BOLT-8") == 97
    assert_balanced(engine)


def test_less_than_is_there_now_is_set_aside(engine: Engine) -> None:
    _sell(engine, "BOLT-8", 99, NOW - HOUR)
    case = _count(engine, "BOLT-8", 90, NOW - 2 * HOUR)
    work(engine)
    assert reasons(engine, case) == ["stock.short"]
    assert on_hand(engine, "BOLT-8") == 1


def test_a_difference_over_the_value_is_decided_by_somebody_else(engine: Engine) -> None:
    sheet_case, number = sheet(engine, "LAMP")
    work_sheets(engine)
    case = enter(engine, number, "item,counted\nLAMP,60\n")
    work(engine)
    work_sheets(engine)
    assert state(engine, case)[:2] == ("waiting", "approve")
    (waiting,) = rows(engine, "select owner from cases where id = :id", id=sheet_case)
    assert waiting["owner"] == "lena.hoffmann", "the counter has done their part"
    asked = approved(engine, case)
    assert asked
    assert "olaf.winter" not in asked
    work(engine)
    work_sheets(engine)
    assert on_hand(engine, "LAMP") == 60
    assert of(engine, case, "value")["value"] == 1600
    assert state(engine, sheet_case)[2] == "counted, 1 difference"


def test_what_was_approved_is_void_when_the_difference_changes(engine: Engine) -> None:
    case = _count(engine, "LAMP", 60, NOW - HOUR)
    work(engine)
    before = of(engine, case, "digest")["digest"]
    approved(engine, case)
    _sell(engine, "LAMP", 5, NOW - 2 * HOUR)
    work(engine)  # finds the difference changed
    work(engine)  # asks again
    assert state(engine, case)[:2] == ("waiting", "approve")
    assert of(engine, case, "digest")["digest"] != before
    assert on_hand(engine, "LAMP") == 95
    approved(engine, case)
    work(engine)
    assert _posted(engine, case) == [("MAIN", "ADJUSTMENT", 35)]
    assert on_hand(engine, "LAMP") == 60


def test_a_difference_that_went_away_needs_nobody_any_more(engine: Engine) -> None:
    case = _count(engine, "LAMP", 60, NOW - HOUR)
    work(engine)
    approved(engine, case)
    _sell(engine, "LAMP", 40, NOW - 2 * HOUR)
    work(engine)
    work(engine)
    assert state(engine, case)[0] == "finished"
    assert _posted(engine, case) == []


def test_a_refused_difference_opens_the_line_again(engine: Engine) -> None:
    sheet_case, number = sheet(engine, "LAMP")
    work_sheets(engine)
    case = enter(engine, number, "item,counted\nLAMP,60\n")
    work(engine)
    (asked,) = rows(engine, "select owner from cases where id = :id", id=case)
    answer(engine, case, asked["owner"], "reject")
    work(engine)
    work_sheets(engine)
    assert on_hand(engine, "LAMP") == 100
    (waiting,) = rows(engine, "select state, owner from cases where id = :id", id=sheet_case)
    assert (waiting["state"], waiting["owner"]) == ("waiting", "olaf.winter")
    enter(engine, number, "item,counted\nLAMP,100\n")
    work(engine)
    work_sheets(engine)
    assert state(engine, sheet_case)[2] == "counted, no difference"
