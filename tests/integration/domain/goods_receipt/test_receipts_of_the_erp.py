"""What was received in the ERP itself counts on the order, and is not posted there again."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from tests.support.orders import add_order, counts, receipt, state, work
from tests.support.work import receive, rows

WORKFLOW = "goods_receipt"


@pytest.mark.parametrize(
    ("kind", "outcome", "counted"), [("delivery", "received", (6, 0)), ("return", "returned", (2, 2))]
)
def test_it_counts_and_is_not_posted_again(engine: Engine, kind: str, outcome: str, counted: tuple[int, int]) -> None:
    order = add_order(engine)
    ours = receipt(engine, order, {"order_line": 1, "quantity": 2})
    work(engine, WORKFLOW)
    quantity = 4 if kind == "delivery" else 2
    body = {"order": order.number, "kind": kind, "lines": [{"order_line": 1, "quantity": quantity}]}
    (told,) = receive(engine, [body], workflow=WORKFLOW, source="erp-receipts")
    work(engine, WORKFLOW)
    assert state(engine, told) == ("finished", outcome)
    assert counts(engine, order)[:2] == counted
    assert rows(engine, "select case_id from effects") == [{"case_id": ours}]
    assert state(engine, order.id)[0] == "pending"
