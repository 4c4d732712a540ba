"""What arrives of goods that are kept in stock is handed over to the stock, once; what is used up at once is not."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Engine

from include.cases import store
from tests.support.orders import add_order, counts, receipt, release, state, work
from tests.support.work import assert_balanced, change, receive, rows

WORKFLOW = "goods_receipt"


def handed_over(engine: Engine) -> list[dict[str, Any]]:
    """Return what the stock was told, each with the case that told it."""
    found = rows(
        engine,
        """select c.parent_id, c.state, c.stage, d.body from cases c join deliveries d on d.id = c.delivery_id
           where c.workflow = 'stock_request' order by c.id""",
    )
    return [{**row, "body": orjson.loads(row["body"])} for row in found]


def test_what_was_accepted_is_handed_over_at_its_cost_in_the_company_s_currency(engine: Engine) -> None:
    order = add_order(engine, {}, {"item": "NUT-8", "quantity": 4, "unit_price": "0.3333"}, currency="USD", rate="0.5")
    case = receipt(
        engine,
        order,
        {"order_line": 1, "quantity": 7},
        {"order_line": 1, "quantity": 3, "condition": "damaged"},
        {"order_line": 2, "quantity": "1.5"},
        received_on="2026-11-19",
        number="DN-7",
    )
    work(engine, WORKFLOW)
    (told,) = handed_over(engine)
    assert (told["parent_id"], told["state"], told["stage"]) == (case, "pending", "capture")
    document = told["body"]
    assert {name: document[name] for name in ("kind", "to", "reference", "occurred_at")} == {
        "kind": "receipt",
        "to": "MAIN",
        "reference": order.number,
        "occurred_at": "2026-11-19",
    }
    assert [(line["item"], line["quantity"], line["unit"], line["unit_cost"]) for line in document["lines"]] == [
        ("BOLT-8", "7", "pcs", "1.25"),
        ("NUT-8", "1.5", "pcs", "0.16665"),
    ]
    assert state(engine, case) == ("finished", "received")
    assert_balanced(engine)


def test_what_goes_back_leaves_the_stock(engine: Engine) -> None:
    order = add_order(engine)
    receipt(engine, order)
    work(engine, WORKFLOW)
    receipt(engine, order, {"order_line": 1, "quantity": 4}, kind="return")
    work(engine, WORKFLOW)
    _, told = handed_over(engine)
    assert (told["body"]["kind"], told["body"]["from"]) == ("supplier_return", "MAIN")
    assert told["body"]["reason"] == f"Sent back to the supplier: order {order.number}"
    assert told["body"]["lines"][0]["quantity"] == "4"


def test_what_the_erp_received_itself_comes_into_stock_as_well(engine: Engine) -> None:
    order = add_order(engine)
    body = {"order": order.number, "lines": [{"order_line": 1, "quantity": 2}]}
    receive(engine, [body], workflow=WORKFLOW, source="erp-receipts")
    work(engine, WORKFLOW)
    assert [told["body"]["lines"][0]["quantity"] for told in handed_over(engine)] == ["2"]


def test_services_nameless_goods_and_what_was_refused_are_not_stocked(engine: Engine) -> None:
    service = add_order(engine, category="services")
    nameless = add_order(engine, {"item": None})
    damaged = add_order(engine)
    cases = [receipt(engine, service), receipt(engine, nameless, {"order_line": 1, "quantity": 1})]
    cases.append(receipt(engine, damaged, {"order_line": 1, "quantity": 2, "condition": "damaged"}))
    work(engine, WORKFLOW)
    assert handed_over(engine) == []
    assert [state(engine, case)[1] for case in cases] == ["received", "received", "nothing accepted"]


def set_aside_after_handing_over(engine: Engine) -> tuple[Any, int]:
    """A receipt whose last step failed; what came from the ERP leaves no effect behind that would tell."""
    order = add_order(engine)
    body = {"order": order.number, "lines": [{"order_line": 1, "quantity": 10}]}
    (case,) = receive(engine, [body], workflow=WORKFLOW, source="erp-receipts")
    work(engine, WORKFLOW, until="hand_over")
    change(
        engine,
        """update cases set state = 'quarantined', claim_id = null, reasons = '[{"code": "error.log", "message": "x"}]'
           where id = :id""",
        id=case,
    )
    return order, case


def test_a_receipt_that_comes_again_is_not_handed_over_again_nor_changed(engine: Engine) -> None:
    order, case = set_aside_after_handing_over(engine)
    release(engine, case, lines=[{"order_line": 1, "quantity": 3}])
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "received")
    assert counts(engine, order)[0] == 10
    assert [told["body"]["lines"][0]["quantity"] for told in handed_over(engine)] == ["10"]


def test_discarding_what_was_handed_over_leaves_the_order_as_the_stock_has_it(engine: Engine) -> None:
    order, case = set_aside_after_handing_over(engine)
    store.discard(engine, [case], reason="entered twice", actor="user:lena")
    assert counts(engine, order)[0] == 10
