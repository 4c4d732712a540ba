"""The demo's deliveries and invoices come to what the demo shows of them."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Engine

from include.samples.receipts import deliveries, invoices, open_orders
from tests.support.orders import add_order, counts, state, work
from tests.support.work import assert_balanced, receive, rows

DAY = date(2026, 11, 20)


def test_the_samples_are_received_matched_and_booked_but_for_the_dear_one(engine: Engine) -> None:
    orders = [
        add_order(engine, {}, {"item": "NUT-8", "quantity": 1, "unit_price": "1200"}),
        add_order(engine, {"quantity": 3}, category="hardware", cost_centre="5200"),
        add_order(engine, category="services"),
    ]
    with engine.connect() as connection:
        found = open_orders(connection)
    assert [order.number for order in found] == [order.number for order in orders]
    bodies = [sample.payload for sample in deliveries(found, mailing="m", day=DAY)]
    receipts = receive(engine, bodies, workflow="goods_receipt", source="warehouse")
    work(engine, "goods_receipt")
    assert {state(engine, case) for case in receipts} == {("finished", "received")}
    assert [counts(engine, order)[0] for order in orders] == [10, 3, 10]
    assert rows(engine, "select count(*) as n from events where kind = 'goods damaged'") == [{"n": 1}]
    bodies = [sample.payload for sample in invoices(found, mailing="m", day=DAY)]
    cases = receive(engine, bodies, workflow="supplier_invoice", source="invoices")
    work(engine, "supplier_invoice")
    assert [state(engine, case) for case in cases] == [
        ("finished", "booked"),
        ("finished", "booked"),
        ("quarantined", "match.price"),
    ]
    assert_balanced(engine)
