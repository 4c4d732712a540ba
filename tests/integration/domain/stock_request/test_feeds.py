"""Of what a till reports the good lines go on; a faulty one is rejected, or held as a case that a person corrects."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from include.stock.items import Item
from tests.support.stock import lines, of, prepare, reasons, release, state, work
from tests.support.work import assert_balanced, change, receive, rows

SOLD = "2026-11-20T10:00:00+01:00"


@pytest.fixture
def till(engine: Engine) -> Engine:
    prepare(engine)
    return engine


def report(engine: Engine, *entries: dict[str, Any], **more: Any) -> int:
    """What a till reports."""
    body = {"receipt": "T1-77", "sold_at": SOLD, "lines": list(entries), **more}
    return receive(engine, [body], workflow="stock_request", source="pos")[0]


def held(engine: Engine, parent: int) -> list[int]:
    return [row["id"] for row in rows(engine, "select id from cases where parent_id = :id order by id", id=parent)]


def test_good_lines_go_on_and_faulty_ones_stop_alone(till: Engine) -> None:
    case = report(
        till,
        {"item": "lamp", "quantity": 2},
        {"item": "GHOST", "quantity": 1, "description": "Not in the books"},
        {"item": "GHOST", "quantity": 3},
        {"quantity": 4},
        {"item": "BOLT-8", "quantity": "many"},
        {"item": "LAMP", "quantity": 0},
    )
    work(till, until="approve")
    assert state(till, case)[:2] == ("running", "post"), "nobody is asked about what happened"
    assert lines(till, case, "line, item, verdict, reason") == [
        {"line": 1, "item": "LAMP", "verdict": None, "reason": None},
        {"line": 2, "item": "GHOST", "verdict": "held", "reason": "item.unknown"},
        {"line": 3, "item": "GHOST", "verdict": "held", "reason": "item.unknown"},
        {"line": 4, "item": None, "verdict": "rejected", "reason": "item.missing"},
        {"line": 5, "item": "BOLT-8", "verdict": "held", "reason": "quantity.unreadable"},
        {"line": 6, "item": "LAMP", "verdict": "rejected", "reason": "quantity.zero"},
    ]
    (event,) = rows(till, "select detail from events where kind = 'feed parted'")
    assert event["detail"] == {
        "rejected": {"item.missing": 1, "quantity.zero": 1},
        "held": {"item.unknown": 2, "quantity.unreadable": 1},
    }
    head = of(till, case)
    assert (head["feed"], head["origin"], head["destination"]) == (True, "SHOP", "CUSTOMER")
    assert (head["approved_by"], head["value"], head["reference"]) == ("rule:feed", 80, "T1-77")
    assert_balanced(till)


def test_a_held_line_waits_for_a_person_with_its_reason_and_then_goes_on(till: Engine) -> None:
    case = report(
        till, {"item": "GHOST", "quantity": 1}, {"item": "GHOST", "quantity": 3}, {"item": "LAMP", "quantity": "x"}
    )
    work(till, until="validate")
    work(till, until="validate")
    ghost, unreadable = held(till, case)
    assert (reasons(till, ghost), reasons(till, unreadable)) == (["item.unknown"], ["quantity.unreadable"])
    assert [line["sent_quantity"] for line in lines(till, ghost)] == [1, 3]
    prepare(till, Item("GHOST", "Found after all", "goods", "pcs", standard_cost=Decimal(1)))
    release(till, ghost)
    work(till, until="approve")
    assert state(till, ghost)[:2] == ("running", "post")
    assert of(till, ghost, "approved_by, origin, kind") == {
        "approved_by": "rule:handoff",
        "origin": "SHOP",
        "kind": "issue",
    }


def test_what_a_person_makes_of_a_held_line_is_their_request(till: Engine) -> None:
    case = report(till, {"item": "GHOST", "quantity": 1})
    work(till, until="validate")
    work(till, until="validate")
    (ghost,) = held(till, case)
    release(till, ghost, actor="user:anna.schmidt", lines=[{"item": "LAMP", "quantity": 500}])
    work(till, until="validate")
    assert reasons(till, ghost) == ["requester.no_user"], "somebody of marketing posts nothing in the shop"
    release(till, ghost, actor="user:lena.hoffmann", lines=[{"item": "LAMP", "quantity": 500}])
    work(till, until="approve")
    assert of(till, ghost, "requester, entered_by") == {"requester": "lena.hoffmann", "entered_by": "lena.hoffmann"}
    assert state(till, ghost)[0] == "waiting", "20,000 of the most valuable goods is somebody's decision"


def test_what_a_till_takes_back_stands_with_a_minus_on_its_receipt(till: Engine) -> None:
    case = report(till, {"item": "LAMP", "quantity": -2}, type="refund")
    work(till, until="validate")
    assert of(till, case, "kind, origin, destination") == {
        "kind": "return",
        "origin": "CUSTOMER",
        "destination": "SHOP",
    }
    assert lines(till, case, "quantity, verdict") == [{"quantity": 2, "verdict": None}]


def test_a_sale_below_zero_is_held_as_an_adjustment(till: Engine) -> None:
    case = report(till, {"item": "LAMP", "quantity": -2})
    work(till, until="validate")
    (child,) = held(till, case)
    work(till, until="validate")
    assert lines(till, case, "verdict, reason") == [{"verdict": "held", "reason": "quantity.negative"}]
    assert of(till, child, "kind, origin, destination") == {
        "kind": "adjustment", "origin": "SHOP", "destination": "ADJUSTMENT",
    }  # fmt: skip


def test_a_line_that_is_held_stays_so_when_its_report_is_read_again(till: Engine) -> None:
    case = report(till, {"item": "GHOST", "quantity": 1}, {"item": "LAMP", "quantity": 1})
    work(till, until="validate")
    prepare(till, Item("GHOST", "Found after all", "goods", "pcs", standard_cost=Decimal(1)))
    change(till, "update cases set stage = 'read_request', state = 'pending', claim_id = null where id = :id", id=case)
    work(till, until="validate")
    assert len(held(till, case)) == 1
    assert lines(till, case, "verdict, reason") == [
        {"verdict": "held", "reason": "item.unknown"},
        {"verdict": None, "reason": None},
    ], "it is posted once, by the case that holds it"


def test_a_feed_of_an_unknown_shop_is_set_aside_as_a_whole(till: Engine) -> None:
    case = report(till, {"item": "GHOST", "quantity": 1}, shop="MOON")
    work(till, until="validate")
    assert reasons(till, case) == ["location.unknown"]
    assert held(till, case) == []


def test_files_of_invoices_learn_items_reject_what_is_no_goods_and_count_a_row_once(till: Engine) -> None:
    row = {"StockCode": "85123a", "Description": "LANTERN", "Quantity": "6", "InvoiceDate": "12/1/2010 8:26"}
    body = {"Invoice": "536365", "rows": [row, row, {**row, "StockCode": "POST"}, {**row, "Quantity": "-3"}]}
    (case,) = receive(till, [body], workflow="stock_request", source="retail-sales")
    work(till, until="validate")
    assert lines(till, case, "item, quantity, verdict, reason") == [
        {"item": "85123A", "quantity": 6, "verdict": None, "reason": None},
        {"item": "85123A", "quantity": 6, "verdict": "rejected", "reason": "line.duplicate"},
        {"item": "POST", "quantity": None, "verdict": "rejected", "reason": "item.not_stocked"},
        {"item": "85123A", "quantity": None, "verdict": "held", "reason": "quantity.negative"},
    ]
