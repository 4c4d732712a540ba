"""What arrives is counted once on its order, never beyond what is tolerated, and what does not fit counts nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from include.cases import store
from include.cases.model import Work
from include.cases.steps import Position
from include.contracts.registry import contract
from include.data.database import authored
from include.domain.goods_receipt.close_short import CloseRefused, close_short
from include.domain.goods_receipt.record_receipt import record_receipt
from tests.support.orders import (
    add_order,
    claim,
    counts,
    invoice,
    reasons,
    receipt,
    release,
    state,
    take,
    work,
)
from tests.support.stock import FIRST_AND_LAST, move_company
from tests.support.work import assert_balanced, change, rows

WORKFLOW = "goods_receipt"


def effects(engine: Engine) -> list[dict[str, Any]]:
    return [row["payload"] for row in rows(engine, "select payload from effects order by id")]


def test_a_full_delivery_counts_is_posted_and_wakes_the_purchase(engine: Engine) -> None:
    order = add_order(engine)
    case = receipt(engine, order, received_on="2026-11-19")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "received")
    assert counts(engine, order)[:2] == (10, 0)
    assert effects(engine) == [
        {
            "key": f"GR-{case}",
            "order": order.number,
            "received_on": "2026-11-19",
            "location": "MAIN",
            "lines": [{"order_line": 1, "quantity": "10", "item": "BOLT-8", "stock_quantity": "10"}],
        }
    ]
    assert state(engine, order.id)[0] == "pending"
    told = rows(engine, "select detail from events where case_id = :id and kind = 'goods counted'", id=order.id)
    assert told == [{"detail": {"receipts": [case]}}]
    assert_balanced(engine)


@pytest.mark.parametrize("zone", FIRST_AND_LAST)
def test_what_comes_without_a_day_came_on_the_companys_day(
    engine: Engine, zone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    move_company(zone, tmp_path, monkeypatch)
    case = receipt(engine, add_order(engine))
    work(engine, WORKFLOW)
    (told,) = rows(
        engine,
        """select received_on, (received_at at time zone :zone)::date as came from goods_receipts
           join cases on cases.id = case_id join deliveries on deliveries.id = delivery_id where case_id = :id""",
        zone=zone,
        id=case,
    )
    assert told["received_on"] == told["came"]


def test_partial_deliveries_add_up(engine: Engine) -> None:
    order = add_order(engine, {"quantity": 10}, {"item": "NUT-8", "quantity": 4})
    first = receipt(engine, order, {"order_line": 1, "quantity": "3.5"}, {"item": "nut-8", "quantity": 4})
    second = receipt(engine, order, {"item": "BOLT-8", "quantity": "6.5"})
    work(engine, WORKFLOW)
    assert state(engine, first) == state(engine, second) == ("finished", "received")
    assert counts(engine, order)[0] == 10
    assert counts(engine, order, 2)[0] == 4


def test_a_little_over_is_tolerated_and_too_much_counts_nothing(engine: Engine) -> None:
    order = add_order(engine)
    little = receipt(engine, order, {"order_line": 1, "quantity": 11})
    work(engine, WORKFLOW)
    assert state(engine, little) == ("finished", "received")
    more = receipt(engine, order, {"order_line": 1, "quantity": "0.0001"})
    work(engine, WORKFLOW)
    assert state(engine, more) == ("quarantined", "receipt.over_tolerance")
    assert counts(engine, order)[0] == 11
    assert len(effects(engine)) == 1


def test_one_line_too_many_keeps_the_whole_receipt_from_counting(engine: Engine) -> None:
    order = add_order(engine, {}, {"item": "NUT-8"})
    case = receipt(engine, order, {"order_line": 1, "quantity": 5}, {"order_line": 2, "quantity": 12})
    work(engine, WORKFLOW)
    assert state(engine, case) == ("quarantined", "receipt.over_tolerance")
    assert counts(engine, order)[0] == counts(engine, order, 2)[0] == 0


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([{"item": "SCREW-9", "quantity": 1}], "receipt.wrong_item"),
        ([{"order_line": 1, "item": "SCREW-9", "quantity": 1}], "receipt.wrong_item"),
        ([{"order_line": 7, "quantity": 1}], "receipt.wrong_item"),
        ([{"order_line": 1, "quantity": -1}], "line.quantity"),
        ([{"order_line": 1, "quantity": "ten"}], "line.quantity"),
        ([{"order_line": "one", "quantity": 1}], "line.order_line"),
    ],
)
def test_what_does_not_fit_is_set_aside(engine: Engine, lines: list[dict[str, Any]], reason: str) -> None:
    order = add_order(engine, {}, {"item": "NUT-8"})
    case = receipt(engine, order, *lines)
    good = receipt(engine, order, {"order_line": 1, "quantity": 1})
    work(engine, WORKFLOW)
    assert state(engine, case) == ("quarantined", reason)
    assert state(engine, good) == ("finished", "received")


@pytest.mark.parametrize(("order_state", "reason"), [("cancelled", "order.cancelled"), ("closed", "order.closed")])
def test_nothing_arrives_on_an_order_that_is_over(engine: Engine, order_state: str, reason: str) -> None:
    order = add_order(engine)
    change(engine, "update purchase_orders set state = :state", state=order_state)
    case = receipt(engine, order)
    unknown = receipt(engine, "PO-1999-000001")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("quarantined", reason)
    assert state(engine, unknown) == ("quarantined", "order.unknown")


def test_damaged_goods_are_counted_apart(engine: Engine) -> None:
    order = add_order(engine)
    case = receipt(
        engine,
        order,
        {"order_line": 1, "quantity": 7},
        {"order_line": 1, "quantity": 3, "condition": "damaged", "note": "wet"},
    )
    alone = receipt(engine, order, {"order_line": 1, "quantity": 2, "condition": "broken"})
    work(engine, WORKFLOW)
    assert counts(engine, order)[0] == 7
    assert [(line["order_line"], line["quantity"]) for line in effects(engine)[0]["lines"]] == [(1, "7")]
    assert len(effects(engine)) == 1
    assert state(engine, alone) == ("finished", "nothing accepted")
    told = rows(engine, "select case_id, detail from events where kind = 'goods damaged' order by case_id")
    assert told == [
        {"case_id": case, "detail": {"quantity": "3.0000"}},
        {"case_id": alone, "detail": {"quantity": "2.0000"}},
    ]
    apart = rows(engine, "select sum(quantity) as n from goods_receipt_lines where condition = 'damaged'")
    assert apart == [{"n": Decimal(5)}]


def test_goods_go_back_but_no_more_than_came(engine: Engine) -> None:
    order = add_order(engine)
    receipt(engine, order)
    work(engine, WORKFLOW)
    back = receipt(engine, order, {"order_line": 1, "quantity": 4}, kind="return")
    too_much = receipt(engine, order, {"order_line": 1, "quantity": 7}, kind="return")
    work(engine, WORKFLOW)
    assert state(engine, back) == ("finished", "returned")
    assert effects(engine)[1]["key"] == f"RT-{back}"
    assert state(engine, too_much) == ("quarantined", "receipt.over_returned")
    assert counts(engine, order)[:2] == (10, 4)
    again = receipt(engine, order, {"order_line": 1, "quantity": 4})
    work(engine, WORKFLOW)
    assert state(engine, again) == ("finished", "received")
    assert counts(engine, order)[:2] == (14, 4)


def test_a_return_is_possible_when_the_order_is_closed(engine: Engine) -> None:
    order = add_order(engine)
    receipt(engine, order)
    work(engine, WORKFLOW)
    change(engine, "update purchase_orders set state = 'closed'")
    back = receipt(engine, order, kind="return")
    work(engine, WORKFLOW)
    assert state(engine, back) == ("finished", "returned")


def at_the_same_instant(engine: Engine, cases: list[int]) -> None:
    """Record each case in a run of its own, all at once."""
    positions = []
    for case in cases:
        steps = contract(WORKFLOW).step_ids
        claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=f"run of {case}", limit=1)
        assert claimed is not None
        positions.append(Position(WORKFLOW, steps, steps[1], claimed.id, f"run of {case}"))
    for position in positions:
        take(engine, position, "read_receipt")
        take(engine, position, "check_receipt")
    start = threading.Barrier(len(positions))

    def go(position: Position) -> None:
        start.wait(30)
        take(engine, position, "record_receipt")

    with ThreadPoolExecutor(len(positions)) as pool:
        list(pool.map(go, positions))


def test_never_twice_the_order_is_received_when_two_receipts_come_at_the_same_instant(engine: Engine) -> None:
    order = add_order(engine)
    cases = [receipt(engine, order) for _ in range(4)]
    at_the_same_instant(engine, cases)
    assert counts(engine, order)[0] == 10
    assert sorted(state(engine, case)[1] or "" for case in cases) == ["", *["receipt.over_tolerance"] * 3]
    assert_balanced(engine)


def test_in_one_batch_the_first_receipt_is_served(engine: Engine) -> None:
    order = add_order(engine)
    first, second = receipt(engine, order), receipt(engine, order)
    work(engine, WORKFLOW)
    assert state(engine, first) == ("finished", "received")
    assert state(engine, second) == ("quarantined", "receipt.over_tolerance")


def test_the_same_delivery_note_counts_once(engine: Engine) -> None:
    order = add_order(engine)
    cases = [receipt(engine, order, {"order_line": 1, "quantity": 1}, number=n) for n in ("DN-7", "dn -7", "DN-7")]
    at_the_same_instant(engine, cases)
    assert counts(engine, order)[0] == 1
    assert sorted(state(engine, case)[1] or "" for case in cases) == ["", *["receipt.duplicate"] * 2]


def test_a_step_that_is_run_again_counts_nothing_twice(engine: Engine) -> None:
    order = add_order(engine)
    case = receipt(engine, order)
    position = claim(engine, WORKFLOW)
    assert position is not None
    for step in ("read_receipt", "check_receipt", "record_receipt"):
        take(engine, position, step)
        take(engine, position, step)
    with authored(engine, actor="system:test") as connection:
        record_receipt(Work(connection, WORKFLOW, "record_receipt", position.claim_id, [case], "again"))
    assert counts(engine, order)[0] == 10
    for step in ("post_receipt", "hand_over"):
        take(engine, position, step)
        take(engine, position, step)
    take(engine, position, "log")
    assert len(effects(engine)) == 1
    assert state(engine, case) == ("finished", "received")


def test_a_run_that_died_after_counting_goes_on_in_another_without_counting_again(engine: Engine) -> None:
    order = add_order(engine)
    case = receipt(engine, order)
    work(engine, WORKFLOW, until="record_receipt")
    change(engine, "update claims set lease_until = now() - interval '1 hour'")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "received")
    assert counts(engine, order)[0] == 10
    assert len(effects(engine)) == 1


def test_what_a_person_corrects_counts_as_corrected(engine: Engine) -> None:
    order = add_order(engine)
    case = receipt(engine, order, {"order_line": 1, "quantity": 100})
    work(engine, WORKFLOW)
    release(engine, case, lines=[{"order_line": 1, "quantity": 9.5}])
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "received")
    assert counts(engine, order)[0] == Decimal("9.5")


def test_what_is_posted_is_only_closed_when_its_case_is_released(engine: Engine) -> None:
    """The step after the posting failed, and meanwhile the order was closed."""
    order = add_order(engine)
    case = receipt(engine, order)
    work(engine, WORKFLOW, until="post_receipt")
    change(
        engine,
        """update cases set state = 'quarantined', claim_id = null, reasons = '[{"code": "error.log", "message": "x"}]'
           where id = :id""",
        id=case,
    )
    change(engine, "update purchase_orders set state = 'closed'")
    release(engine, case, lines=[{"order_line": 1, "quantity": 3}])
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "received")
    assert counts(engine, order)[0] == 10
    assert len(effects(engine)) == 1


def refused_by_the_erp(engine: Engine) -> tuple[Any, int]:
    order = add_order(engine)
    change(engine, "update erp_purchase_orders set state = 'cancelled'")
    case = receipt(engine, order)
    work(engine, WORKFLOW)
    assert state(engine, case) == ("quarantined", "effect.erp")
    assert counts(engine, order)[0] == 10
    return order, case


def test_discarding_a_receipt_that_the_erp_refused_takes_its_count_back(engine: Engine) -> None:
    order, case = refused_by_the_erp(engine)
    store.discard(engine, [case], reason="never came", actor="user:lena")
    assert counts(engine, order)[0] == 0
    assert_balanced(engine)


def test_a_receipt_that_the_erp_refused_counts_anew_when_it_is_corrected(engine: Engine) -> None:
    order, case = refused_by_the_erp(engine)
    change(engine, "update erp_purchase_orders set state = 'confirmed'")
    release(engine, case, lines=[{"order_line": 1, "quantity": 4}])
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "received")
    assert counts(engine, order)[0] == 4
    assert [[line["quantity"] for line in payload["lines"]] for payload in effects(engine)] == [["4"]]


def test_the_database_itself_refuses_twice_the_order(engine: Engine) -> None:
    add_order(engine)
    with pytest.raises(Exception, match="never_more_received_than_tolerated"), engine.begin() as connection:
        connection.execute(text("update purchase_order_lines set received = 20"))


def test_a_line_closed_short_wakes_the_purchase_and_says_why(engine: Engine) -> None:
    order = add_order(engine)
    receipt(engine, order, {"order_line": 1, "quantity": 6})
    work(engine, WORKFLOW)
    change(engine, "update cases set state = 'waiting' where id = :id", id=order.id)
    with authored(engine, actor="user:lena.hoffmann") as connection:
        closed = close_short(connection, order=order.number.lower(), line=1, reason="discontinued")
    assert (closed.case_id, closed.missing, closed.changed) == (order.id, 4, True)
    assert state(engine, order.id)[0] == "pending"
    (event,) = rows(engine, "select actor, detail from events where kind = 'line closed short'")
    assert event == {
        "actor": "user:lena.hoffmann",
        "detail": {"line": 1, "missing": "4.0000", "reason": "discontinued"},
    }
    with authored(engine, actor="user:lena.hoffmann") as connection:
        assert not close_short(connection, order=order.number, line=1, reason="again").changed


@pytest.mark.parametrize(
    ("order", "line", "reason", "why"),
    [
        ("", 1, " ", "with a reason"),
        ("PO-1", 1, "x", "no open order PO-1"),
        ("", 9, "x", "has no line 9"),
        ("", 2, "x", "nothing is missing"),
    ],
)
def test_closing_short_refuses_what_makes_no_sense(
    engine: Engine, order: str, line: int, reason: str, why: str
) -> None:
    there = add_order(engine, {}, {"item": "NUT-8", "received": 10})
    with pytest.raises(CloseRefused, match=why), authored(engine, actor="user:lena") as connection:
        close_short(connection, order=order or there.number, line=line, reason=reason)


def test_an_invoice_that_waits_is_woken_by_its_goods(engine: Engine) -> None:
    order, other = add_order(engine), add_order(engine)
    case, elsewhere = invoice(engine, order), invoice(engine, other)
    work(engine, "supplier_invoice")
    assert state(engine, case) == state(engine, elsewhere) == ("waiting", "lena.hoffmann")
    receipt(engine, order)
    work(engine, WORKFLOW)
    assert state(engine, case)[0] == "pending"
    assert state(engine, elsewhere)[0] == "waiting"


def test_a_receipt_without_an_order_says_so(engine: Engine) -> None:
    case = receipt(engine, "")
    work(engine, WORKFLOW)
    assert reasons(engine, case) == ["order.missing"]
