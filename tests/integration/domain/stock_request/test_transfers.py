"""What is shipped is under way until all of it has arrived or was given up; never more arrives than was shipped."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from include.approvals import rounds
from include.cases import store
from include.data.database import authored
from include.domain.stock_request.transfers import CloseRefused, Closing, close_short, under_way
from include.stock.check import differences
from tests.support.stock import (
    WORKFLOW,
    answer,
    approved,
    claim,
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
from tests.support.work import assert_balanced, change, rows

BEFORE = ("read_request", "validate", "route", "reserve", "approve")


@pytest.fixture(autouse=True)
def _warehouse(engine: Engine) -> None:
    prepare(engine)
    stock(engine, "BOLT-8", 100)
    stock(engine, "FLOUR", 10, lot="F-1", expires_on="2098-01-01")
    stock(engine, "FLOUR", 10, lot="F-2", expires_on="2098-02-01")


def shipped(engine: Engine, *lines: dict[str, Any]) -> tuple[int, str]:
    """Ship from MAIN to SHOP; return the case and the transfer's number."""
    case = request(
        engine,
        "transfer",
        *(lines or ({"item": "BOLT-8", "quantity": 10},)),
        location=None,
        from_location="MAIN",
        to_location="SHOP",
    )
    work(engine)
    if state(engine, case)[:2] == ("waiting", "approve"):
        approved(engine, case)
        work(engine)
    assert state(engine, case)[:2] == ("waiting", "receive")
    return case, of(engine, case, "number")["number"]


def arrived(engine: Engine, number: str, *lines: dict[str, Any]) -> int:
    """Receive an arrival of a transfer."""
    location = "SHOP"
    return request(engine, "transfer_receipt", *lines, location=None, to_location=location, reference=number)


def asked(engine: Engine, number: str, person: str = "lena.hoffmann") -> Closing:
    with authored(engine, actor=f"user:{person}") as connection:
        return close_short(connection, number=number, person=person, reason="the lorry burnt")


def legs(engine: Engine, case: int) -> list[tuple[Any, ...]]:
    """Return item, lot, shipped, received and lost of a transfer's lines."""
    found = rows(
        engine,
        "select item, lot, shipped, received, lost from stock_transfer_lines where case_id = :id order by line",
        id=case,
    )
    return [tuple(row.values()) for row in found]


def sound(engine: Engine) -> None:
    """No case is lost, balances are what was moved, and transit holds what is under way."""
    assert_balanced(engine)
    with engine.connect() as connection:
        assert differences(connection) == []
        on_the_way: Counter[tuple[str, str]] = Counter()
        for one in under_way(connection):
            on_the_way[one.item, one.lot] += one.quantity  # type: ignore[assignment]
    there = rows(engine, "select item, lot, quantity from stock_balances where location = 'TRANSIT' and quantity <> 0")
    assert {(row["item"], row["lot"]): row["quantity"] for row in there} == on_the_way


def test_a_transfer_waits_for_the_keeper_of_its_destination_until_all_has_arrived(engine: Engine) -> None:
    case, number = shipped(engine, {"item": "BOLT-8", "quantity": 10}, {"item": "FLOUR", "quantity": 12})
    assert rows(engine, "select owner from cases where id = :id", id=case) == [{"owner": "olaf.winter"}]
    assert legs(engine, case) == [
        ("BOLT-8", "", 10, 0, 0),
        ("FLOUR", "F-1", 10, 0, 0),
        ("FLOUR", "F-2", 2, 0, 0),
    ]
    assert on_hand(engine, "BOLT-8", "TRANSIT") == 10
    sound(engine)
    first = arrived(engine, number, {"item": "BOLT-8", "quantity": 4}, {"item": "FLOUR", "quantity": 10, "lot": "F-1"})
    work(engine)
    assert state(engine, first) == ("finished", "log", "posted")
    assert state(engine, case)[:2] == ("pending", "receive")
    work(engine)
    assert state(engine, case)[:2] == ("waiting", "receive")
    sound(engine)
    arrived(engine, number, {"item": "BOLT-8", "quantity": 6}, {"item": "FLOUR", "quantity": 2, "lot": "F-2"})
    work(engine)
    work(engine)
    assert state(engine, case) == ("finished", "log", "posted")
    assert rows(engine, "select state, closed_at is not null as closed from stock_transfers") == [
        {"state": "received", "closed": True}
    ]
    assert [on_hand(engine, item, "SHOP") for item in ("BOLT-8", "FLOUR")] == [10, 12]
    sound(engine)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ({"item": "BOLT-8", "quantity": 11}, "transfer.too_much"),
        ({"item": "LAMP", "quantity": 1}, "transfer.item"),
    ],
)
def test_what_was_not_shipped_does_not_arrive(engine: Engine, line: dict[str, Any], reason: str) -> None:
    case, number = shipped(engine)
    more = arrived(engine, number, {"item": "BOLT-8", "quantity": 1}, line)
    work(engine)
    assert reason in reasons(engine, more)
    assert legs(engine, case) == [("BOLT-8", "", 10, 0, 0)]
    sound(engine)


def test_two_arrivals_at_the_same_instant_are_never_more_than_was_shipped(engine: Engine) -> None:
    """Each fits when it is checked; together they are too much."""
    case, number = shipped(engine)
    positions = []
    for _ in range(3):
        arrived(engine, number, {"item": "BOLT-8", "quantity": 6})
        position = claim(engine)
        assert position is not None
        for step in BEFORE:
            take(engine, position, step)
        positions.append(position)
    start = threading.Barrier(len(positions))

    def go(position: Any) -> None:
        start.wait(30)
        take(engine, position, "post")

    with ThreadPoolExecutor(len(positions)) as pool:
        list(pool.map(go, positions))
    assert legs(engine, case) == [("BOLT-8", "", 10, 6, 0)]
    found = rows(engine, "select reasons from cases where state = 'quarantined'")
    assert [row["reasons"][0]["code"] for row in found] == ["transfer.too_much"] * 2
    sound(engine)


def test_in_one_batch_the_second_arrival_finds_what_the_first_left(engine: Engine) -> None:
    case, number = shipped(engine)
    first = arrived(engine, number, {"item": "BOLT-8", "quantity": 6})
    second = arrived(engine, number, {"item": "BOLT-8", "quantity": 6})
    work(engine)
    assert state(engine, first)[2] == "posted"
    assert reasons(engine, second) == ["transfer.too_much"]
    assert legs(engine, case) == [("BOLT-8", "", 10, 6, 0)]


def test_what_is_missing_leaves_transit_when_that_is_approved(engine: Engine) -> None:
    case, number = shipped(engine)
    arrived(engine, number, {"item": "BOLT-8", "quantity": 7})
    work(engine)
    closing = asked(engine, number.lower())
    assert closing.missing == {("BOLT-8", ""): 3}
    assert (closing.case_id, closing.changed) == (case, True)
    assert asked(engine, number).changed is False
    work(engine)
    (loss,) = rows(engine, "select id from cases where parent_id = :id", id=case)
    if state(engine, loss["id"])[:2] == ("waiting", "approve"):
        assert legs(engine, case) == [("BOLT-8", "", 10, 7, 0)]
        approved(engine, loss["id"])
        work(engine)
    assert state(engine, loss["id"]) == ("finished", "log", "posted")
    assert legs(engine, case) == [("BOLT-8", "", 10, 7, 3)]
    work(engine)
    assert state(engine, case) == ("finished", "log", "closed short")
    assert on_hand(engine, "BOLT-8", "TRANSIT") == 0
    assert on_hand(engine, "BOLT-8", "ADJUSTMENT") == 3
    sound(engine)
    late = arrived(engine, number, {"item": "BOLT-8", "quantity": 3})
    work(engine)
    assert state(engine, late)[0] == "quarantined"
    with pytest.raises(CloseRefused, match="nothing is missing"):
        asked(engine, number)


def test_a_refused_closing_leaves_the_transfer_under_way(engine: Engine) -> None:
    stock(engine, "LAMP", 100)
    case, number = shipped(engine, {"item": "LAMP", "quantity": 50})
    asked(engine, number)
    work(engine)
    (loss,) = rows(engine, "select id from cases where parent_id = :id", id=case)
    assert state(engine, loss["id"])[:2] == ("waiting", "approve")
    with engine.connect() as connection:
        standing = rounds.latest(connection, [loss["id"]])[loss["id"]]
    answer(engine, loss["id"], standing.waits_for[0], "reject")
    work(engine)
    assert state(engine, loss["id"])[2] == "rejected"
    work(engine)
    assert state(engine, case)[:2] == ("waiting", "receive")
    assert asked(engine, number).changed is True
    sound(engine)


def test_what_arrives_while_its_loss_is_decided_is_not_lost(engine: Engine) -> None:
    stock(engine, "LAMP", 100)
    case, number = shipped(engine, {"item": "LAMP", "quantity": 50})
    asked(engine, number)
    work(engine)
    (loss,) = rows(engine, "select id from cases where parent_id = :id", id=case)
    arrived(engine, number, {"item": "LAMP", "quantity": 20})
    work(engine)
    approved(engine, loss["id"])
    work(engine)
    assert reasons(engine, loss["id"]) == ["transfer.too_much"]
    assert legs(engine, case) == [("LAMP", "", 50, 20, 0)]
    store.discard(engine, [loss["id"]], reason="it came", actor="user:lena.hoffmann")
    sound(engine)


@pytest.mark.parametrize(("number", "reason"), [("ST-0", "r"), ("", "r")])
def test_closing_short_says_why_it_cannot(engine: Engine, number: str, reason: str) -> None:
    with authored(engine, actor="user:lena") as connection, pytest.raises(CloseRefused, match="no transfer"):
        close_short(connection, number=number, person="lena.hoffmann", reason=reason)
    with authored(engine, actor="user:lena") as connection, pytest.raises(CloseRefused, match="reason"):
        close_short(connection, number=number, person="lena.hoffmann", reason=" ")


def test_what_is_under_way_is_told_with_its_age(engine: Engine) -> None:
    case, number = shipped(engine)
    with engine.connect() as connection:
        (one,) = under_way(connection, datetime.now(UTC) + timedelta(days=9, hours=1))
    assert (one.case_id, one.number, one.item, int(one.quantity)) == (case, number, "BOLT-8", 10)
    assert (one.origin, one.destination, one.keeper, one.days) == ("MAIN", "SHOP", "olaf.winter", 9)


def test_a_transfer_of_more_than_is_there_ships_what_is_there_and_the_rest_later(engine: Engine) -> None:
    stock(engine, "LAMP", 4)
    case, _ = shipped(engine, {"item": "LAMP", "quantity": 6})
    assert legs(engine, case) == [("LAMP", "", 4, 0, 0)]
    work(engine)
    (rest,) = rows(engine, "select id, state, stage from cases where parent_id = :id", id=case)
    assert (rest["state"], rest["stage"]) == ("waiting", "post")
    request(engine, "receipt", {"item": "LAMP", "quantity": 5})
    work(engine)
    work(engine)
    assert state(engine, rest["id"])[:2] == ("waiting", "receive")
    assert legs(engine, rest["id"]) == [("LAMP", "", 2, 0, 0)]
    sound(engine)


def test_the_steps_of_a_transfer_may_run_again(engine: Engine) -> None:
    case, number = shipped(engine)
    change(engine, "update cases set state = 'pending', stage = 'capture' where id = :id", id=case)
    work(engine)
    assert state(engine, case)[:2] == ("waiting", "receive")
    assert legs(engine, case) == [("BOLT-8", "", 10, 0, 0)]
    assert on_hand(engine, "BOLT-8") == 90
    again = arrived(engine, number, {"item": "BOLT-8", "quantity": 10})
    work(engine)
    change(
        engine,
        "update cases set state = 'pending', stage = 'capture', closed_at = null, outcome = null where id = :id",
        id=again,
    )
    work(engine)
    assert legs(engine, case) == [("BOLT-8", "", 10, 10, 0)]
    assert rows(engine, f"select count(*) as n from cases where workflow = '{WORKFLOW}'") == [{"n": 2}]
    sound(engine)
