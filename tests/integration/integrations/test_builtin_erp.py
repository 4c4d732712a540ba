"""The built-in `erp`: every document once, whatever is sent again, and refused what cannot be."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Engine

from include.integrations.builtin.erp import BuiltinErp
from include.integrations.systems import Failed, Outcome, PendingEffect, Sent
from tests.support.work import change, rows

_numbers = itertools.count(1)


def effect(operation: str, **payload: Any) -> PendingEffect:
    number = next(_numbers)
    return PendingEffect(number, f"w/{number}/s/{operation}/t", operation, "t", payload, 1)


def supplier(key: str = "acme", **fields: Any) -> PendingEffect:
    return effect("upsert_supplier", key=key, **({"name": "Acme", "email": "o@acme.example"} | fields))


def order(key: str = "PO-1", **fields: Any) -> PendingEffect:
    lines = [{"line": n, "description": f"Thing {n}", "quantity": "10", "unit_price": "2.50"} for n in (1, 2)]
    return effect("create_purchase_order", **({"key": key, "supplier": "acme", "lines": lines} | fields))


def goods(operation: str, key: str, lines: dict[int, str], of: str = "PO-1") -> PendingEffect:
    items = [{"order_line": line, "quantity": quantity} for line, quantity in lines.items()]
    return effect(operation, key=key, order=of, received_on="2026-11-20", lines=items)


def invoice(key: str = "IN-1", number: str = "R-77", **fields: Any) -> PendingEffect:
    given = {"key": key, "kind": "invoice", "number": number, "supplier": "acme", "order": "PO-1", "lines": []}
    return effect("book_invoice", **(given | fields))


@pytest.fixture
def erp(engine: Engine) -> BuiltinErp:
    return BuiltinErp(engine)


@pytest.fixture
def ordered(erp: BuiltinErp) -> BuiltinErp:
    apply(erp, supplier(), order())
    return erp


def apply(erp: BuiltinErp, *effects: PendingEffect) -> list[Outcome]:
    return [erp.apply(one.operation, [one])[0] for one in effects]


def all_sent(outcomes: Sequence[object]) -> bool:
    return all(isinstance(outcome, Sent) for outcome in outcomes)


def refusal(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed), outcome
    assert outcome.permanent
    return outcome.error


def test_every_operation_may_be_repeated_and_is_one_record(erp: BuiltinErp, engine: Engine) -> None:
    effects = [
        supplier(),
        order(),
        order("PO-2"),
        goods("receive_goods", "GR-1", {1: "4"}),
        goods("return_goods", "RT-1", {1: "1"}),
        invoice(),
        invoice("IN-2", "R-78", kind="credit_note"),
        effect("cancel_purchase_order", key="PO-2"),
    ]
    first = apply(erp, *effects)
    assert all_sent(first), first
    assert apply(erp, *effects) == first
    for one in effects:  # and twice in one call
        assert erp.apply(one.operation, [one, one]) == [first[effects.index(one)]] * 2
    assert rows(engine, "select key, state from erp_purchase_orders order by key") == [
        {"key": "PO-1", "state": "confirmed"},
        {"key": "PO-2", "state": "cancelled"},
    ]
    assert rows(engine, "select key, kind, order_key from erp_documents order by key") == [
        {"key": "GR-1", "kind": "receipt", "order_key": "PO-1"},
        {"key": "IN-1", "kind": "invoice", "order_key": "PO-1"},
        {"key": "IN-2", "kind": "credit_note", "order_key": "PO-1"},
        {"key": "RT-1", "kind": "return", "order_key": "PO-1"},
    ]


def test_a_supplier_is_read_with_what_is_known_and_with_defaults_for_the_rest(erp: BuiltinErp, engine: Engine) -> None:
    apply(erp, supplier(country="DE", currency="EUR"), supplier("other", name="Other"))
    change(engine, """update erp_suppliers set record = record || '{"blocked": true}' where key = 'acme'""")
    apply(erp, supplier(email=None, country="AT"))
    assert erp.read("supplier", ["acme", "nobody"]) == {
        "acme": {
            "name": "Acme",
            "active": True,
            "blocked": True,
            "email": "o@acme.example",
            "currency": "EUR",
            "country": "AT",
            "orders_by_mail": False,
            "language": None,
        }
    }
    assert erp.read("supplier", []) == {}


def test_an_order_is_read_with_its_state(ordered: BuiltinErp) -> None:
    assert ordered.read("order", ["PO-1", "PO-9"]) == {"PO-1": {"id": "PO-1", "number": "PO-1", "state": "confirmed"}}
    apply(ordered, effect("cancel_purchase_order", key="PO-1"))
    assert ordered.read("order", ["PO-1"])["PO-1"]["state"] == "cancelled"


@pytest.mark.parametrize("operation", ["receive_goods", "return_goods"])
def test_goods_of_an_unknown_order_are_refused_until_the_order_is_there(
    erp: BuiltinErp, engine: Engine, operation: str
) -> None:
    (outcome,) = apply(erp, goods(operation, "GR-1", {1: "1"}))
    assert isinstance(outcome, Failed)
    assert "no order PO-1" in outcome.error
    assert not outcome.permanent
    assert outcome.retry_after
    assert rows(engine, "select * from erp_documents") == []


def test_what_cannot_be_is_refused_for_good_and_written_nowhere(ordered: BuiltinErp, engine: Engine) -> None:
    apply(ordered, order("PO-2"), effect("cancel_purchase_order", key="PO-2"))
    refused = [
        goods("receive_goods", "GR-1", {3: "1"}),
        goods("receive_goods", "GR-2", {1: "0"}),
        goods("receive_goods", "GR-3", {1: "-1"}),
        goods("receive_goods", "GR-4", {1: "many"}),
        goods("receive_goods", "GR-5", {}),
        goods("receive_goods", "GR-6", {1: "1"}, of="PO-2"),
        order("PO-3", supplier="nobody"),
        order("PO-4", lines=[]),
        effect("receive_goods", key="GR-7", order="PO-1"),
    ]
    for one, outcome in zip(refused, apply(ordered, *refused), strict=True):
        assert refusal(outcome), one
    assert rows(engine, "select * from erp_documents") == []
    assert len(rows(engine, "select * from erp_purchase_orders")) == 2


def test_no_more_goes_back_than_came(ordered: BuiltinErp) -> None:
    apply(ordered, goods("receive_goods", "GR-1", {1: "4"}), goods("receive_goods", "GR-2", {1: "1.5"}))
    (too_many,) = apply(ordered, goods("return_goods", "RT-1", {1: "5.6"}))
    assert "5.5 are there" in refusal(too_many)
    both = [goods("return_goods", "RT-2", {1: "5"}), goods("return_goods", "RT-3", {1: "0.6"})]
    outcomes = ordered.apply("return_goods", both)
    assert isinstance(outcomes[0], Sent)
    assert "0.5 are there" in refusal(outcomes[1])
    assert all_sent(apply(ordered, goods("return_goods", "RT-4", {1: "0.5"})))


def test_an_order_with_a_receipt_cannot_be_cancelled(ordered: BuiltinErp) -> None:
    apply(ordered, goods("receive_goods", "GR-1", {1: "4"}))
    (outcome,) = apply(ordered, effect("cancel_purchase_order", key="PO-1"))
    assert "stays" in refusal(outcome)
    assert ordered.read("order", ["PO-1"])["PO-1"]["state"] == "confirmed"


def test_a_suppliers_invoice_number_is_booked_once(ordered: BuiltinErp, engine: Engine) -> None:
    apply(ordered, supplier("other"))
    outcomes = ordered.apply(
        "book_invoice",
        [invoice("IN-1"), invoice("IN-2", "r-77"), invoice("IN-3", supplier="other", order=None)],
    )
    assert isinstance(outcomes[0], Sent)
    assert "as IN-1" in refusal(outcomes[1])
    assert isinstance(outcomes[2], Sent)
    assert "as IN-1" in refusal(apply(ordered, invoice("IN-4", kind="credit_note"))[0])
    assert len(rows(engine, "select * from erp_documents")) == 2


def test_the_same_invoice_in_two_processes_is_booked_once(ordered: BuiltinErp, engine: Engine) -> None:
    outcomes: list[Outcome] = []
    threads = [
        threading.Thread(target=lambda n=n: outcomes.extend(apply(ordered, invoice(f"IN-{n}")))) for n in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, Sent) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, Failed) and outcome.permanent for outcome in outcomes) == 5
    assert len(rows(engine, "select * from erp_documents")) == 1


def test_one_bad_effect_harms_no_other(ordered: BuiltinErp) -> None:
    effects = [goods("receive_goods", f"GR-{n}", {1: "1"}) for n in range(5)]
    effects[3].payload["lines"][0]["quantity"] = "many"
    outcomes = ordered.apply("receive_goods", effects)
    assert [isinstance(outcome, Sent) for outcome in outcomes] == [True, True, True, False, True]
