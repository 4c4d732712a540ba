"""What is asked for moves once, as far as it is there; what is not there goes as its kind says."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from include.cases import store
from include.cases.model import Work
from include.cases.steps import Position
from include.contracts.registry import contract
from include.data.database import authored
from include.domain.stock_request.post import post
from include.stock.check import differences
from tests.support.stock import (
    WORKFLOW,
    approved,
    claim,
    lines,
    of,
    on_hand,
    prepare,
    reasons,
    release,
    request,
    state,
    stock,
    take,
    work,
)
from tests.support.work import assert_balanced, change, receive, rows

BEFORE = ("read_request", "validate", "route", "reserve", "approve")


@pytest.fixture(autouse=True)
def _warehouse(engine: Engine) -> None:
    prepare(engine)


def movements(engine: Engine, case: int) -> list[tuple[Any, ...]]:
    """Return item, lot, where from, where to and how much of what a case moved."""
    found = rows(
        engine,
        "select item, lot, source, destination, quantity from stock_movements where case_id = :id order by key",
        id=case,
    )
    return [tuple(row.values()) for row in found]


def go_through(engine: Engine, *cases: int) -> None:
    """Take requests to the step `log`, with everybody approving who is asked."""
    work(engine)
    for case in cases:
        if state(engine, case)[:2] == ("waiting", "approve"):
            approved(engine, case)
    work(engine)


def children(engine: Engine, case: int) -> list[int]:
    return [row["id"] for row in rows(engine, "select id from cases where parent_id = :id order by id", id=case)]


def sound(engine: Engine) -> None:
    """No case is lost, and the balances are what the movements say."""
    assert_balanced(engine)
    with engine.connect() as connection:
        assert differences(connection) == []


@pytest.mark.parametrize(
    ("kind", "line", "moved", "left"),
    [
        ("receipt", {"quantity": 5, "unit_cost": "0.45"}, ("SUPPLIER", "MAIN", 5), 15),
        ("issue", {"quantity": 5}, ("MAIN", "CUSTOMER", 5), 5),
        ("consumption", {"quantity": 5}, ("MAIN", "CONSUMPTION", 5), 5),
        ("return", {"quantity": 5}, ("CUSTOMER", "MAIN", 5), 15),
        ("supplier_return", {"quantity": 5}, ("MAIN", "SUPPLIER", 5), 5),
        ("write_off", {"quantity": 5}, ("MAIN", "SCRAP", 5), 5),
        ("adjustment", {"quantity": 5}, ("ADJUSTMENT", "MAIN", 5), 15),
        ("adjustment", {"quantity": -5}, ("MAIN", "ADJUSTMENT", 5), 5),
        ("count", {"quantity": 7}, ("MAIN", "ADJUSTMENT", 3), 7),
        ("count", {"quantity": 12}, ("ADJUSTMENT", "MAIN", 2), 12),
    ],
)
def test_each_kind_moves_what_it_says_and_tells_the_erp(
    engine: Engine, kind: str, line: dict[str, Any], moved: tuple[str, str, int], left: int
) -> None:
    stock(engine, "BOLT-8", 10)
    case = request(engine, kind, {"item": "BOLT-8", **line})
    go_through(engine, case)
    assert state(engine, case) == ("finished", "log", "posted")
    assert movements(engine, case) == [("BOLT-8", "", *moved)]
    assert on_hand(engine, "BOLT-8") == left
    (told,) = rows(engine, "select payload from effects where operation = 'move_stock'")
    assert told["payload"]["key"] == f"SM-{case}"
    assert told["payload"]["kind"] == kind
    (told_line,) = told["payload"]["lines"]
    assert (told_line["from"]["code"], told_line["to"]["code"], told_line["quantity"]) == (*moved[:2], str(moved[2]))
    assert rows(engine, "select count(*) as n from stock_values")[0]["n"] == 2
    sound(engine)


def test_a_count_that_finds_what_the_books_hold_moves_nothing(engine: Engine) -> None:
    stock(engine, "BOLT-8", 10)
    case = request(engine, "count", {"item": "BOLT-8", "quantity": 10})
    go_through(engine, case)
    assert state(engine, case) == ("finished", "log", "no difference")
    assert movements(engine, case) == []


def test_what_arrives_in_a_batch_is_there_for_whoever_takes_in_it(engine: Engine) -> None:
    taken = request(engine, "issue", {"item": "BOLT-8", "quantity": 7})
    came = request(engine, "receipt", {"item": "BOLT-8", "quantity": 10})
    work(engine)
    assert [state(engine, case)[2] for case in (taken, came)] == ["posted", "posted"]
    assert on_hand(engine, "BOLT-8") == 3


def test_of_lots_the_one_that_expires_first_is_taken_and_an_expired_one_never(engine: Engine) -> None:
    stock(engine, "FLOUR", 5, lot="OLD", expires_on="2026-02-01")
    stock(engine, "FLOUR", 5, lot="LATE", expires_on="2098-01-01")
    stock(engine, "FLOUR", 5, lot="SOON", expires_on="2097-01-01")
    case = request(engine, "issue", {"item": "FLOUR", "quantity": "7.5"})
    work(engine)
    assert [row[1::3] for row in movements(engine, case)] == [("LATE", Decimal("2.5")), ("SOON", Decimal(5))]
    assert on_hand(engine, "FLOUR", lot="OLD") == 5


def test_a_lot_that_comes_is_known_with_its_last_day(engine: Engine) -> None:
    request(engine, "receipt", {"item": "FLOUR", "quantity": 3, "lot": "F-1", "expires_on": "2098-05-01"})
    case = request(engine, "issue", {"item": "FLOUR", "quantity": 1})
    work(engine)
    assert movements(engine, case)[0][1] == "F-1"
    (lot,) = rows(engine, "select expires_on::text from stock_lots where lot = 'F-1'")
    assert lot["expires_on"] == "2098-05-01"


# -- not enough


def test_a_part_is_posted_and_the_rest_is_a_back_order_that_goes_on_when_goods_come(engine: Engine) -> None:
    stock(engine, "BOLT-8", 3)
    case = request(engine, "issue", {"item": "BOLT-8", "quantity": 5}, {"item": "LAMP", "quantity": 2})
    work(engine)
    assert state(engine, case) == ("finished", "log", "posted in part")
    assert [(line["verdict"], line["posted"]) for line in lines(engine, case)] == [("back_order", 3), ("back_order", 0)]
    (rest,) = children(engine, case)
    work(engine)
    assert state(engine, rest)[:2] == ("waiting", "post")
    assert rows(engine, "select owner from cases where id = :id", id=rest) == [{"owner": "lena.hoffmann"}]
    request(engine, "receipt", {"item": "BOLT-8", "quantity": 1})
    work(engine)
    assert state(engine, rest)[:2] == ("pending", "post")
    work(engine)
    assert state(engine, rest) == ("finished", "log", "posted in part")
    (last,) = children(engine, rest)
    work(engine)
    request(engine, "receipt", {"item": "BOLT-8", "quantity": 10}, {"item": "LAMP", "quantity": 10})
    work(engine)
    work(engine)
    assert state(engine, last) == ("finished", "log", "posted")
    assert [on_hand(engine, item) for item in ("BOLT-8", "LAMP")] == [9, 8]
    sound(engine)


def test_nobody_overtakes_a_request_that_waits_for_the_same_goods(engine: Engine) -> None:
    first = request(engine, "issue", {"item": "BOLT-8", "quantity": 8})
    work(engine)
    assert state(engine, first)[:2] == ("waiting", "post")
    came = request(engine, "receipt", {"item": "BOLT-8", "quantity": 10})
    later = request(engine, "issue", {"item": "BOLT-8", "quantity": 5})
    work(engine)
    assert state(engine, came)[2] == "posted"
    assert movements(engine, later)[0][-1] == 2
    work(engine)
    assert movements(engine, first)[0][-1] == 8
    assert on_hand(engine, "BOLT-8") == 0
    sound(engine)


def test_who_waits_has_what_a_correction_of_the_same_batch_brings(engine: Engine) -> None:
    first = request(engine, "issue", {"item": "BOLT-8", "quantity": 1})
    request(engine, "adjustment", {"item": "BOLT-8", "quantity": 2}, {"item": "BOLT-8", "quantity": -1})
    work(engine)
    work(engine)
    assert state(engine, first) == ("finished", "log", "posted")


def test_goods_elsewhere_or_of_another_item_wake_nobody(engine: Engine) -> None:
    case = request(engine, "issue", {"item": "BOLT-8", "quantity": 8})
    work(engine)
    request(engine, "receipt", {"item": "BOLT-8", "quantity": 10}, location="SHOP")
    request(engine, "receipt", {"item": "LAMP", "quantity": 10})
    work(engine)
    assert state(engine, case)[:2] == ("waiting", "post")


def test_a_discarded_back_order_takes_nothing_from_those_behind_it(engine: Engine) -> None:
    first = request(engine, "issue", {"item": "BOLT-8", "quantity": 8})
    work(engine)
    store.discard(engine, [first], reason="cancelled by the customer", actor="user:lena.hoffmann")
    request(engine, "receipt", {"item": "BOLT-8", "quantity": 5})
    later = request(engine, "issue", {"item": "BOLT-8", "quantity": 5})
    work(engine)
    assert state(engine, later) == ("finished", "log", "posted")


def test_consumption_leaves_out_what_is_not_there(engine: Engine) -> None:
    stock(engine, "BOLT-8", 3)
    case = request(engine, "consumption", {"item": "BOLT-8", "quantity": 5}, {"item": "LAMP", "quantity": 1})
    work(engine)
    assert state(engine, case) == ("finished", "log", "posted in part")
    assert [(line["verdict"], line["posted"]) for line in lines(engine, case)] == [("short", 3), ("short", 0)]
    assert children(engine, case) == []


def test_every_line_that_is_short_leaves_its_trace_however_many_there_are(engine: Engine) -> None:
    stock(engine, "BOLT-8", 3)
    case = request(engine, "consumption", *[{"item": "BOLT-8", "quantity": 2}] * 25)
    work(engine)
    assert state(engine, case) == ("finished", "log", "posted in part")
    (told,) = rows(engine, "select detail from events where kind = 'stock short'")
    assert sum(Decimal(line["missing"]) for line in told["detail"]["lines"]) == 47


def test_what_goes_back_is_all_there_or_is_set_aside_and_leaves_a_trace(engine: Engine) -> None:
    stock(engine, "BOLT-8", 3)
    stock(engine, "LAMP", 3)
    case = request(engine, "supplier_return", {"item": "LAMP", "quantity": 1}, {"item": "BOLT-8", "quantity": 5})
    other = request(engine, "issue", {"item": "LAMP", "quantity": 3})
    go_through(engine, case)
    assert (state(engine, case)[0], reasons(engine, case)) == ("quarantined", ["stock.short"])
    assert movements(engine, case) == []
    assert state(engine, other)[2] == "posted"
    (told,) = rows(engine, "select detail from events where kind = 'stock short'")
    assert told["detail"]["lines"] == [{"item": "BOLT-8", "place": "MAIN", "lot": "", "asked": "5", "missing": "2"}]
    stock(engine, "BOLT-8", 5)
    stock(engine, "LAMP", 3)
    release(engine, case)
    go_through(engine, case)
    assert state(engine, case) == ("finished", "log", "posted")
    sound(engine)


def test_the_shop_sells_what_the_books_do_not_know_of(engine: Engine) -> None:
    body = {"shop": "SHOP", "lines": [{"item": "LAMP", "quantity": 2}, {"item": "BOLT-8", "quantity": 1}]}
    (case,) = receive(engine, [body], workflow=WORKFLOW, source="pos")
    work(engine)
    assert state(engine, case) == ("finished", "log", "posted")
    assert on_hand(engine, "LAMP", "SHOP") == -2
    sound(engine)


def test_what_belongs_to_a_closed_period_is_set_aside(engine: Engine) -> None:
    stock(engine, "BOLT-8", 10)
    case = request(engine, "issue", occurred_at="2026-02-03T10:00:00Z")
    good = request(engine, "issue")
    position = claim(engine)
    assert position is not None
    for step in BEFORE:
        take(engine, position, step)
    change(engine, "update stock_closing set closed_until = '2026-03-01'")
    take(engine, position, "post")
    assert reasons(engine, case) == ["period.closed"]
    assert movements(engine, good)


def test_one_serial_number_that_is_elsewhere_stops_its_own_request_only(engine: Engine) -> None:
    stock(engine, "SAW", 1, lot="S-1")
    stock(engine, "BOLT-8", 10)
    bad = request(engine, "receipt", {"item": "SAW", "quantity": 1, "lot": "S-1"}, location="SHOP")
    good = [request(engine, "issue", {"item": "BOLT-8", "quantity": 1}) for _ in range(4)]
    work(engine)
    assert (state(engine, bad)[0], reasons(engine, bad)) == ("quarantined", ["serial.elsewhere"])
    assert {state(engine, case)[2] for case in good} == {"posted"}


# -- once


def test_a_step_that_runs_again_posts_nothing_twice(engine: Engine) -> None:
    stock(engine, "BOLT-8", 10)
    case = request(engine, "issue", {"item": "BOLT-8", "quantity": 4})
    position = claim(engine)
    assert position is not None
    for step in (*BEFORE, "post"):
        take(engine, position, step)
        take(engine, position, step)
    with authored(engine, actor="system:test") as connection:
        post(Work(connection, WORKFLOW, "post", position.claim_id, [case], "again"))
    assert on_hand(engine, "BOLT-8") == 6
    for step in ("update_erp", "value", "receive"):
        take(engine, position, step)
        take(engine, position, step)
    take(engine, position, "log")
    assert state(engine, case) == ("finished", "log", "posted")
    assert rows(engine, "select operation from effects order by id") == [
        {"operation": "upsert_product"},
        {"operation": "move_stock"},
    ]


class Killed(BaseException):
    """The process ends."""


def post_and_die(engine: Engine, position: Position, case: int) -> None:
    with authored(engine, actor="system:test") as connection:
        post(Work(connection, WORKFLOW, "post", position.claim_id, [case], "dies"))
        raise Killed


@pytest.mark.parametrize("committed", [False, True])
def test_a_process_that_dies_around_the_commit_leaves_it_posted_once(engine: Engine, committed: bool) -> None:
    stock(engine, "BOLT-8", 10)
    case = request(engine, "issue", {"item": "BOLT-8", "quantity": 4})
    position = claim(engine)
    assert position is not None
    for step in BEFORE:
        take(engine, position, step)
    if committed:
        take(engine, position, "post")
    else:
        with pytest.raises(Killed):
            post_and_die(engine, position, case)
    assert on_hand(engine, "BOLT-8") == (6 if committed else 10)
    change(engine, "update claims set lease_until = now() - interval '1 hour'")
    work(engine)
    assert state(engine, case) == ("finished", "log", "posted")
    assert on_hand(engine, "BOLT-8") == 6
    sound(engine)


def at_the_same_instant(engine: Engine, cases: Sequence[int]) -> None:
    """Post each case in a run of its own, all at once."""
    positions = []
    for case in cases:
        steps = contract(WORKFLOW).step_ids
        claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=f"run of {case}", limit=1)
        assert claimed is not None
        positions.append(Position(WORKFLOW, steps, steps[1], claimed.id, f"run of {case}"))
    for position in positions:
        for step in BEFORE:
            take(engine, position, step)
    start = threading.Barrier(len(positions))

    def go(position: Position) -> None:
        start.wait(30)
        take(engine, position, "post")

    with ThreadPoolExecutor(len(positions)) as pool:
        list(pool.map(go, positions))


def test_of_two_who_both_saw_room_for_themselves_one_is_set_aside(engine: Engine) -> None:
    stock(engine, "VACCINE", 78, "COLD")
    both = [request(engine, "receipt", {"item": "VACCINE", "quantity": 2}, location="COLD") for _ in range(2)]
    work(engine)
    assert sorted(state(engine, case)[0] for case in both) == ["finished", "quarantined"]
    assert sorted(reasons(engine, case) for case in both) == [[], ["place.capacity"]]
    assert on_hand(engine, "VACCINE", "COLD") == 80


def test_the_last_piece_is_taken_once(engine: Engine) -> None:
    stock(engine, "LAMP", 1)
    cases = [request(engine, "issue", {"item": "LAMP", "quantity": 1}) for _ in range(4)]
    at_the_same_instant(engine, cases)
    assert on_hand(engine, "LAMP") == 0
    assert sum(len(movements(engine, case)) for case in cases) == 1
    waiting = rows(engine, "select count(*) as n from cases where state = 'waiting' and stage = 'post'")
    assert waiting == [{"n": 3}]
    sound(engine)


# -- reservations


def test_what_waits_for_people_is_kept_for_it_until_it_is_posted(engine: Engine) -> None:
    stock(engine, "LAMP", 10)
    case = request(engine, "write_off", {"item": "LAMP", "quantity": 8})
    work(engine)
    assert state(engine, case)[:2] == ("waiting", "approve")
    assert rows(engine, "select quantity from stock_reservations") == [{"quantity": 8}]
    other = request(engine, "consumption", {"item": "LAMP", "quantity": 5})
    work(engine)
    assert lines(engine, other)[0]["posted"] == 2
    approved(engine, case)
    work(engine)
    assert state(engine, case) == ("finished", "log", "posted")
    assert rows(engine, "select * from stock_reservations") == []
    assert on_hand(engine, "LAMP") == 0


def test_a_reservation_that_ran_out_gives_way(engine: Engine) -> None:
    stock(engine, "LAMP", 10)
    kept = request(engine, "write_off", {"item": "LAMP", "quantity": 8})
    work(engine)
    change(engine, "alter table stock_reservations disable trigger reservations_are_ended_not_changed")
    change(engine, "update stock_reservations set expires_at = now() - interval '1 minute'")
    change(engine, "alter table stock_reservations enable trigger reservations_are_ended_not_changed")
    other = request(engine, "issue", {"item": "LAMP", "quantity": 5})
    work(engine)
    assert state(engine, other)[2] == "posted"
    approved(engine, kept)
    work(engine)
    assert reasons(engine, kept) == ["stock.short"]
    sound(engine)


def test_a_request_that_comes_again_reserves_anew(engine: Engine) -> None:
    stock(engine, "LAMP", 10)
    case = request(engine, "write_off", {"item": "LAMP", "quantity": 8})
    work(engine)
    with authored(engine, actor="user:lena.hoffmann") as connection:
        store.restart(
            connection,
            case,
            first_step="capture",
            stages=["approve"],
            corrections={"lines": [{"item": "LAMP", "quantity": 3}]},
            actor="user:lena.hoffmann",
        )
    work(engine)
    assert rows(engine, "select quantity from stock_reservations") == [{"quantity": 3}]


def test_what_a_refused_request_lets_go_is_for_whoever_waits(engine: Engine) -> None:
    stock(engine, "LAMP", 10)
    kept = request(engine, "write_off", {"item": "LAMP", "quantity": 10})
    work(engine)
    waits = request(engine, "issue", {"item": "LAMP", "quantity": 5})
    work(engine)
    assert state(engine, waits)[:2] == ("waiting", "post")
    store.discard(engine, [kept], reason="found", actor="user:lena.hoffmann")
    assert state(engine, waits)[:2] == ("pending", "post")
    work(engine)
    assert state(engine, waits) == ("finished", "log", "posted")


# -- what the ERP learns


def test_a_product_is_told_once_and_again_when_it_changed(engine: Engine) -> None:
    stock(engine, "BOLT-8", 100)
    for _ in range(3):
        request(engine, "issue", {"item": "BOLT-8", "quantity": 1})
        work(engine)
    told = "select payload->>'title' as title from effects where operation = 'upsert_product' order by id"
    assert rows(engine, told) == [{"title": "Bolts M8"}]
    for title in ("Bolts", "Bolts M8"):
        change(engine, "update stock_items set title = :title where code = 'BOLT-8'", title=title)
        request(engine, "issue", {"item": "BOLT-8", "quantity": 1})
        work(engine)
    assert [row["title"] for row in rows(engine, told)] == ["Bolts M8", "Bolts", "Bolts M8"]


def test_what_a_goods_receipt_brought_is_not_told_again(engine: Engine) -> None:
    body = {
        "kind": "receipt",
        "to": "MAIN",
        "reference": "PO-2026-000001",
        "occurred_at": "2026-11-19",
        "lines": [{"item": "BOLT-8", "quantity": "2", "unit": "box", "unit_cost": "50"}],
    }
    (case,) = receive(engine, [body], workflow=WORKFLOW, source="goods-receipt")
    work(engine)
    assert state(engine, case) == ("finished", "log", "posted")
    assert on_hand(engine, "BOLT-8") == 200
    (moved,) = rows(engine, "select unit_cost from stock_movements where case_id = :id", id=case)
    assert moved["unit_cost"] == Decimal("0.5")
    assert rows(engine, "select * from effects") == []
    assert of(engine, case, "reference") == {"reference": "PO-2026-000001"}


def test_what_nobody_decided_on_goes_back_instead_of_moving(engine: Engine) -> None:
    stock(engine, "LAMP", 10)
    case = request(engine, "issue", {"item": "LAMP", "quantity": 3})
    position = claim(engine)
    assert position is not None
    for step in BEFORE:
        take(engine, position, step)
    change(engine, "update stock_requests set approved_by = null where case_id = :id", id=case)
    take(engine, position, "post")
    assert state(engine, case)[:2] == ("pending", "route")
    assert movements(engine, case) == []
    work(engine)
    assert state(engine, case)[2] == "posted"
