"""One request from the portal to the booked purchase, and each way in which it ends earlier."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import Engine

from include.data.database import authored
from include.domain import budgets
from tests.support.purchases import (
    add,
    answer,
    approved,
    case,
    codes,
    count,
    deliver,
    of,
    prepare,
    request,
    run,
    wake,
)
from tests.support.work import assert_balanced, change, rows


@pytest.fixture(autouse=True)
def _prepared(engine: Engine) -> None:
    prepare(engine)


def test_below_the_lowest_band_a_rule_approves_and_says_by_which(engine: Engine) -> None:
    (a,) = add(engine, request("50.00", "2"))
    run(engine)
    assert case(engine, a) == ("waiting", "receive", None)
    found = of(engine, a)
    assert found["approved_by"] == "rule:small"
    assert "below 250 EUR" in found["routing"]["rules"][0]
    assert count(engine, "approval_rounds") == 0
    (order,) = rows(engine, "select number, net, tax, digest from purchase_orders")
    assert order["number"].endswith("-000001")
    assert (order["net"], order["tax"], order["digest"]) == (Decimal(100), Decimal(19), found["digest"])
    assert rows(engine, "select most from purchase_order_lines") == [{"most": Decimal("2.1")}]


def test_an_approved_request_is_ordered_delivered_booked_and_its_money_accounted_for(engine: Engine) -> None:
    (a,) = add(engine, request("600.00", "2"))
    run(engine)
    assert case(engine, a) == ("waiting", "approve", None)
    assert rows(engine, "select owner from cases") == [{"owner": "maria.keller"}]
    answer(engine, a, "maria.keller")
    assert case(engine, a)[:2] == ("pending", "approve")
    run(engine)
    assert case(engine, a) == ("waiting", "receive", None)
    assert rows(engine, "select owner from cases") == [{"owner": "anna.schmidt"}]
    assert rows(engine, "select committed from budgets where committed > 0") == [{"committed": Decimal(1200)}]
    (mail,) = rows(engine, 'select "to", message from mailbox')
    assert mail["to"] == "orders@skoda.example"
    assert mail["message"]["attachments"][0]["filename"].startswith("PO-")
    assert count(engine, "erp_purchase_orders") == 1

    deliver(engine, a, book=False)
    run(engine)
    assert case(engine, a) == ("waiting", "match", None)
    assert rows(engine, "select owner from cases") == [{"owner": "jonas.braun"}]
    with authored(engine, actor="system:test") as connection:
        budgets.consume(connection, a, Decimal("1190.00"), key="invoice/1")
    deliver(engine, a)
    run(engine)
    assert case(engine, a) == ("finished", "log", "booked")
    assert rows(engine, "select committed, consumed from budgets where consumed > 0") == [
        {"committed": Decimal(0), "consumed": Decimal("1190.00")}
    ]
    (fact,) = rows(engine, "select amount, booked, outcome, approved_after, closed_after from report_purchase_facts")
    assert (fact["amount"], fact["booked"], fact["outcome"]) == (Decimal(1200), Decimal(1190), "booked")
    assert fact["approved_after"] <= fact["closed_after"]
    assert rows(engine, "select state, closed_why from purchase_orders") == [
        {"state": "closed", "closed_why": "complete"}
    ]
    assert_balanced(engine)
    with engine.connect() as connection:
        assert budgets.differences(connection) == []


@pytest.mark.parametrize(
    ("who", "what", "outcome"), [("maria.keller", "reject", "rejected"), ("anna.schmidt", "withdraw", "withdrawn")]
)
def test_a_refused_request_is_closed_and_nothing_is_committed_or_ordered(
    engine: Engine, who: str, what: str, outcome: str
) -> None:
    (a,) = add(engine, request("600.00"))
    run(engine)
    answer(engine, a, who, what)
    run(engine)
    assert case(engine, a) == ("finished", "approve", outcome)
    assert count(engine, "purchase_orders") == count(engine, "budget_entries") == count(engine, "effects") == 0
    assert rows(engine, "select outcome, booked from report_purchase_facts") == [
        {"outcome": outcome, "booked": Decimal(0)}
    ]


def test_time_running_out_sets_aside_and_a_release_asks_anew(engine: Engine) -> None:
    from include.cases import store

    (a,) = add(engine, request("600.00"))
    run(engine)
    change(engine, "update approval_rounds set state = 'expired', closed_at = now()")
    change(engine, "update approval_stages set state = 'closed'")
    wake(engine, a)
    run(engine)
    assert codes(engine, a) == ["approval.expired"]
    store.release(engine, [a], first_step="capture", actor="user:petra.lang")
    run(engine)
    assert case(engine, a) == ("waiting", "approve", None)
    assert [row["state"] for row in rows(engine, "select state from approval_rounds order by number")] == [
        "expired",
        "open",
    ]
    approved(engine, a)
    run(engine)
    assert case(engine, a)[1] == "receive"


def test_a_cancelled_order_frees_its_money_and_closes(engine: Engine) -> None:
    (a,) = add(engine, request())
    run(engine)
    change(engine, "update purchase_orders set state = 'cancelled', closed_at = now(), closed_why = 'no need'")
    wake(engine, a)
    run(engine)
    assert case(engine, a) == ("finished", "receive", "cancelled")
    assert count(engine, "budgets where committed <> 0") == 0
    assert rows(engine, "select outcome from report_purchase_facts") == [{"outcome": "cancelled"}]


def test_an_order_of_which_nothing_will_come_ends_without_an_invoice(engine: Engine) -> None:
    (a,) = add(engine, request())
    run(engine)
    change(engine, "update purchase_order_lines set short_closed = true")
    wake(engine, a)
    run(engine)
    assert case(engine, a) == ("finished", "log", "not delivered")
    assert count(engine, "budgets where committed <> 0") == 0


def test_a_partial_delivery_keeps_waiting_and_an_invoice_that_is_not_booked_does_too(engine: Engine) -> None:
    (a,) = add(engine, request())
    run(engine)
    change(engine, "update purchase_order_lines set received = 1")
    wake(engine, a)
    run(engine)
    assert case(engine, a)[:2] == ("waiting", "receive")
    change(engine, "update purchase_order_lines set received = 2, returned = 1")
    wake(engine, a)
    run(engine)
    assert case(engine, a)[:2] == ("waiting", "receive")


def test_a_new_supplier_is_added_to_the_erp_before_its_order_and_hears_of_it_by_mail(engine: Engine) -> None:
    (a,) = add(
        engine,
        request(
            supplier=None, supplier_name="Žižkov Tiskárna", supplier_email="tisk@zizkov.example", supplier_country="CZ"
        ),
    )
    run(engine)
    found = of(engine, a)
    assert (found["supplier"], found["supplier_state"]) == ("zizkov-tiskarna", "new")
    assert rows(engine, "select owner from cases") == [{"owner": "petra.lang"}]
    approved(engine, a)
    run(engine)
    assert case(engine, a)[:2] == ("waiting", "receive")
    assert [
        row["operation"] for row in rows(engine, "select operation from effects where system = 'erp' order by id")
    ] == [
        "upsert_supplier",
        "create_purchase_order",
    ]
    (supplier,) = rows(engine, "select record from erp_suppliers where key = 'zizkov-tiskarna'")
    assert supplier["record"]["name"] == "Žižkov Tiskárna"
    assert rows(engine, 'select "to" from mailbox') == [{"to": "tisk@zizkov.example"}]


def test_a_supplier_who_takes_orders_otherwise_gets_no_mail(engine: Engine) -> None:
    add(engine, request(supplier="S-200"))
    run(engine)
    assert count(engine, "mailbox") == 0
    assert count(engine, "erp_purchase_orders") == 1
