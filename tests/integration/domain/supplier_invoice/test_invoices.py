"""An invoice is matched with order and receipt, booked once, in the journal once; what differs waits for a person."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine, text

from include.cases import store
from include.cases.model import Work
from include.cases.steps import Position
from include.contracts.registry import contract
from include.data.database import authored
from include.domain.goods_receipt.close_short import close_short
from include.domain.supplier_invoice import book as booking
from include.domain.supplier_invoice.match import match
from tests.support.orders import (
    Order,
    add_order,
    claim,
    counts,
    invoice,
    invoiced,
    reasons,
    receipt,
    release,
    state,
    take,
    work,
)
from tests.support.work import assert_balanced, change, rows

WORKFLOW = "supplier_invoice"


def received(engine: Engine, *lines: dict[str, Any], **more: Any) -> Order:
    """An order of which everything is there."""
    return add_order(engine, *({"received": line.get("quantity", 10), **line} for line in lines or [{}]), **more)


def journal(engine: Engine, case: int) -> list[tuple[str, Decimal, Decimal]]:
    found = rows(engine, "select account, debit, credit from journal_lines where case_id = :id order by line", id=case)
    return [(row["account"], row["debit"], row["credit"]) for row in found]


def effects(engine: Engine) -> list[dict[str, Any]]:
    return [row["payload"] for row in rows(engine, "select payload from effects order by id")]


def test_what_was_ordered_and_received_is_booked_and_wakes_the_purchase(engine: Engine) -> None:
    order = received(engine)
    case = invoice(engine, order, number="R-1", net="25.00", tax="4.75", gross="29.75", due_date="2026-12-20")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "booked")
    assert counts(engine, order) == (10, 0, 10, 0)
    assert effects(engine) == [
        {
            "key": f"IN-{case}",
            "kind": "invoice",
            "number": "R-1",
            "supplier": "acme",
            "order": order.number,
            "date": "2026-11-20",
            "due_date": "2026-12-20",
            "currency": "EUR",
            "lines": [
                {
                    "order_line": 1,
                    "description": "Bolts M8",
                    "quantity": "10",
                    "unit_price": "2.5",
                    "tax_rate": "0.19",
                    "net": "25.00",
                    "tax": "4.75",
                    "account": "3000",
                    "cost_centre": "6300",
                }
            ],
            "net": "25.00",
            "tax": "4.75",
            "gross": "29.75",
        }
    ]
    assert journal(engine, case) == [
        ("3000", Decimal("25.00"), 0),
        ("1576", Decimal("4.75"), 0),
        ("1600", 0, Decimal("29.75")),
    ]
    assert state(engine, order.id)[0] == "pending"
    assert_balanced(engine)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"number": None}, "invoice.number_missing"),
        ({"currency": "XXX"}, "currency.unknown"),
        ({"invoice_date": None}, "date.missing"),
        ({"invoice_date": "soon"}, "date.invalid"),
        ({"invoice_date": "2199-01-01"}, "date.in_future"),
        ({"gross": "30.00"}, "invoice.lines"),
        ({"net": "25", "tax": "4.75", "gross": "29.74"}, "invoice.totals"),
        ({"net": "a lot"}, "amount.invalid"),
        ({"net": "-25"}, "amount.negative"),
        ({"lines": []}, "lines.missing"),
        ({"lines": [invoiced(quantity="many")]}, "line.amounts"),
        ({"lines": [invoiced(tax_rate="0.42")]}, "tax.unknown"),
        ({"order": None}, "order.missing"),
        ({"order": "PO-1999-000001"}, "order.unknown"),
        ({"supplier": "globex"}, "supplier.differs"),
        ({"supplier": None, "supplier_name": "Globex"}, "supplier.differs"),
        ({"lines": [invoiced(quantity=12)]}, "match.quantity"),
        ({"lines": [invoiced(unit_price="2.60")]}, "match.price"),
        ({"lines": [invoiced(), {"description": "Freight", "quantity": 1, "unit_price": 9, "tax_rate": 19}]},
         "match.unordered_line"),
    ],
)  # fmt: skip
def test_what_differs_is_set_aside_and_harms_no_other(engine: Engine, more: dict[str, Any], reason: str) -> None:
    order, other = received(engine), received(engine)
    case, good = invoice(engine, order, **more), invoice(engine, other)
    work(engine, WORKFLOW)
    assert state(engine, case) == ("quarantined", reason)
    assert reasons(engine, case) == [reason]
    assert state(engine, good) == ("finished", "booked")
    assert counts(engine, order) == (10, 0, 0, 0)
    assert contract(WORKFLOW).exception(reason) is not None


def test_the_supplier_may_be_named_and_the_number_written_in_its_own_way(engine: Engine) -> None:
    order = received(engine)
    lines = [{"order_line": 1, "quantity": "10.0", "unit_price": 2.5, "tax_rate": "19 %"}]
    case = invoice(
        engine, order, supplier=None, supplier_name="ACME GmbH", order=f" {order.number.lower()} ", lines=lines
    )
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "booked")


def test_an_invoice_before_its_goods_waits_for_who_requested_them_and_goes_on_when_they_come(engine: Engine) -> None:
    order = add_order(engine, requester="anna.schmidt")
    case = invoice(engine, order)
    work(engine, WORKFLOW)
    assert state(engine, case) == ("waiting", "anna.schmidt")
    receipt(engine, order, {"order_line": 1, "quantity": 6})
    work(engine, "goods_receipt")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("waiting", "anna.schmidt")
    receipt(engine, order, {"order_line": 1, "quantity": 4})
    work(engine, "goods_receipt")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "booked")
    assert_balanced(engine)


def test_when_the_rest_will_not_come_the_invoice_over_it_is_set_aside(engine: Engine) -> None:
    order = add_order(engine, {"received": 6})
    case = invoice(engine, order)
    work(engine, WORKFLOW)
    with authored(engine, actor="user:lena") as connection:
        close_short(connection, order=order.number, line=1, reason="discontinued")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("quarantined", "match.quantity")


def test_partial_invoices_follow_partial_deliveries(engine: Engine) -> None:
    order = add_order(engine, {"received": 4})
    first = invoice(engine, order, {"quantity": 4})
    work(engine, WORKFLOW)
    second = invoice(engine, order, {"quantity": 6})
    work(engine, WORKFLOW)
    assert state(engine, first) == ("finished", "booked")
    assert state(engine, second)[0] == "waiting"
    assert counts(engine, order) == (4, 0, 4, 0)


def test_a_receipt_and_an_invoice_at_the_same_instant_do_not_miss_each_other(engine: Engine) -> None:
    for _ in range(4):
        order = add_order(engine)
        case = invoice(engine, order)
        goods = receipt(engine, order)
        both = claim(engine, WORKFLOW), claim(engine, "goods_receipt")
        invoicing, receiving = both
        assert invoicing
        assert receiving
        for step in ("read_invoice", "find_order"):
            take(engine, invoicing, step)
        for step in ("read_receipt", "check_receipt"):
            take(engine, receiving, step)
        at_once([(invoicing, "match"), (receiving, "record_receipt")], engine)
        for step in ("book", "log"):
            take(engine, invoicing, step)
        work(engine, WORKFLOW)
        assert state(engine, case) == ("finished", "booked")
        assert state(engine, goods)[0] == "running"


def at_once(steps: Sequence[tuple[Position, str]], engine: Engine) -> None:
    """Run steps of several runs, all at the same time."""
    start = threading.Barrier(len(steps))

    def go(job: tuple[Position, str]) -> None:
        start.wait(30)
        take(engine, *job)

    with ThreadPoolExecutor(len(steps)) as pool:
        list(pool.map(go, steps))


def positions(engine: Engine, cases: Sequence[int], until: str) -> list[Position]:
    """Claim each case in a run of its own, and bring it to behind the step `until`."""
    found = []
    steps = contract(WORKFLOW).step_ids
    for case in cases:
        claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=f"run of {case}", limit=1)
        assert claimed
        position = Position(WORKFLOW, steps, steps[1], claimed.id, f"run of {case}")
        for step in steps[1 : steps.index(until) + 1]:
            take(engine, position, step)
        found.append(position)
    return found


@pytest.mark.parametrize("numbers", [("R-7", "R-7", "R-7"), ("R 7a", "r7A", "R7 A ")])
def test_the_same_number_at_the_same_instant_goes_on_once(engine: Engine, numbers: tuple[str, ...]) -> None:
    order = received(engine, {"quantity": 30})
    cases = [invoice(engine, order, number=number) for number in numbers]
    ready = positions(engine, cases, "read_invoice")
    at_once([(position, "find_order") for position in ready], engine)
    assert sorted(state(engine, case)[1] or "" for case in cases) == ["", "invoice.duplicate", "invoice.duplicate"]


def test_in_one_batch_the_first_of_two_equal_numbers_goes_on(engine: Engine) -> None:
    order = received(engine, {"quantity": 30})
    first, second = invoice(engine, order, number="R-8"), invoice(engine, order, number="r-8")
    work(engine, WORKFLOW)
    assert state(engine, first) == ("finished", "booked")
    assert state(engine, second) == ("quarantined", "invoice.duplicate")


def test_another_supplier_may_have_the_same_number(engine: Engine) -> None:
    first = invoice(engine, received(engine), number="R-9")
    order = received(engine, supplier="globex", supplier_name="Globex")
    second = invoice(engine, order, number="R-9", supplier="GLOBEX")
    work(engine, WORKFLOW)
    assert state(engine, first) == state(engine, second) == ("finished", "booked")


def test_discarding_the_first_frees_its_number_for_the_right_one(engine: Engine) -> None:
    order = received(engine)
    wrong, right = invoice(engine, order, {"unit_price": 9}, number="R-10"), invoice(engine, order, number="R-10")
    work(engine, WORKFLOW)
    assert state(engine, wrong) == ("quarantined", "match.price")
    assert state(engine, right) == ("quarantined", "invoice.duplicate")
    store.discard(engine, [wrong], reason="replaced", actor="user:jonas.braun")
    release(engine, right)
    work(engine, WORKFLOW)
    assert state(engine, right) == ("finished", "booked")


def test_two_invoices_at_the_same_instant_cannot_both_take_what_was_received(engine: Engine) -> None:
    order = received(engine)
    cases = [invoice(engine, order) for _ in range(4)]
    ready = positions(engine, cases, "find_order")
    at_once([(position, "match") for position in ready], engine)
    assert counts(engine, order) == (10, 0, 10, 0)
    assert sorted(state(engine, case)[1] or "" for case in cases) == ["", *["match.quantity"] * 3]


def test_a_person_accepts_a_difference_and_the_timeline_says_who(engine: Engine) -> None:
    order = received(engine)
    freight = {"order_line": None, "description": "Freight", "quantity": 1, "unit_price": "9.00"}
    case = invoice(engine, order, {"unit_price": "3.00"}, freight)
    work(engine, WORKFLOW)
    assert reasons(engine, case) == ["match.price", "match.unordered_line"]
    release(engine, case, accept_difference="agreed by telephone")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "booked")
    (event,) = rows(engine, "select detail from events where kind = 'difference accepted'")
    assert event["detail"] == {"by": "user:jonas.braun", "what": ["accepted: price", "accepted: unordered_line"]}
    assert journal(engine, case)[1] == ("3000", Decimal("9.00"), 0)
    assert counts(engine, order) == (10, 0, 10, 0)


def test_nobody_accepts_more_than_the_order_tolerates(engine: Engine) -> None:
    order = received(engine)
    case, less = invoice(engine, order, {"quantity": "11.5"}), invoice(engine, order, {"quantity": 11})
    work(engine, WORKFLOW)
    for each in (case, less):
        assert state(engine, each) == ("quarantined", "match.quantity")
        release(engine, each, accept_difference="I want to")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("quarantined", "match.quantity")
    assert state(engine, less) == ("finished", "booked")
    assert counts(engine, order) == (10, 0, 11, 0)


def test_an_acceptance_ends_when_something_else_is_corrected(engine: Engine) -> None:
    order = received(engine)
    case = invoice(engine, order, {"quantity": "11.5", "unit_price": 3})
    work(engine, WORKFLOW)
    release(engine, case, accept_difference="3 was agreed")
    work(engine, WORKFLOW)
    assert state(engine, case)[0] == "quarantined"
    release(engine, case, lines=[invoiced(unit_price=30)])
    work(engine, WORKFLOW)
    assert state(engine, case) == ("quarantined", "match.price")


def test_a_price_is_not_accepted_by_goods_that_are_not_there(engine: Engine) -> None:
    order = add_order(engine)
    case = invoice(engine, order, {"unit_price": 3})
    work(engine, WORKFLOW)
    assert state(engine, case) == ("quarantined", "match.price")
    release(engine, case, accept_difference="3 was agreed")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("waiting", "lena.hoffmann")
    receipt(engine, order)
    work(engine, "goods_receipt")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "booked")


def booked(engine: Engine, number: str = "R-100", **more: Any) -> Order:
    order = received(engine, **more)
    invoice(engine, order, number=number)
    work(engine, WORKFLOW)
    return order


@pytest.mark.parametrize(
    ("lines", "more"),
    [
        ([{"quantity": 4}], {"kind": "credit_note"}),
        ([{"quantity": -4}], {"gross": "-11.90"}),
        ([{"quantity": 4, "unit_price": "-2.50"}], {"kind": "credit note", "net": "-10"}),
    ],
)
def test_a_credit_note_takes_back_part_of_a_booked_invoice(
    engine: Engine, lines: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    order = booked(engine)
    case = invoice(engine, order, *lines, corrects="r-100", **more)
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "credited")
    assert counts(engine, order) == (10, 0, 10, 4)
    assert journal(engine, case) == [
        ("3000", 0, Decimal("10.00")),
        ("1576", 0, Decimal("1.90")),
        ("1600", Decimal("11.90"), 0),
    ]
    assert (effects(engine)[1]["kind"], effects(engine)[1]["gross"]) == ("credit_note", "11.90")


def test_a_credit_note_without_an_order_is_for_that_of_its_invoice(engine: Engine) -> None:
    order = booked(engine)
    case = invoice(engine, None, {"quantity": 4}, kind="credit_note", corrects="R-100")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "credited")
    assert counts(engine, order) == (10, 0, 10, 4)


def test_a_credit_note_for_returned_goods_needs_no_invoice_number(engine: Engine) -> None:
    order = booked(engine)
    early = invoice(engine, order, {"quantity": 4}, kind="credit_note")
    work(engine, WORKFLOW)
    assert state(engine, early) == ("quarantined", "credit.unsupported")
    receipt(engine, order, {"order_line": 1, "quantity": 4}, kind="return")
    work(engine, "goods_receipt")
    release(engine, early)
    work(engine, WORKFLOW)
    assert state(engine, early) == ("finished", "credited")


def test_no_more_is_credited_than_was_invoiced(engine: Engine) -> None:
    order = booked(engine)
    too_many = invoice(engine, order, {"quantity": 10}, {"quantity": 1}, kind="credit_note", corrects="R-100")
    allowances = [
        invoice(engine, order, {"unit_price": "1.50"}, kind="credit_note", corrects="R-100") for _ in range(2)
    ]
    unknown = invoice(engine, order, kind="credit_note", corrects="R-999")
    work(engine, WORKFLOW)
    assert state(engine, too_many) == ("quarantined", "credit.over_invoiced")
    assert [state(engine, case) for case in allowances] == [
        ("finished", "credited"),
        ("quarantined", "credit.over_invoiced"),
    ]
    assert state(engine, unknown) == ("quarantined", "credit.unknown_invoice")
    assert counts(engine, order) == (10, 0, 10, 0)


def test_a_credit_note_waits_for_its_invoice(engine: Engine) -> None:
    order = add_order(engine)
    first = invoice(engine, order, number="R-200")
    note = invoice(engine, order, {"quantity": 1}, kind="credit_note", corrects="R-200")
    work(engine, WORKFLOW)
    assert state(engine, note)[0] == "pending"
    change(engine, "update cases set available_at = now() where id = :id", id=note)
    work(engine, WORKFLOW)
    assert state(engine, note) == ("waiting", "accounts_payable")
    receipt(engine, order)
    work(engine, "goods_receipt")
    work(engine, WORKFLOW)
    work(engine, WORKFLOW)
    assert state(engine, first) == ("finished", "booked")
    assert state(engine, note) == ("finished", "credited")


def add_rate(engine: Engine, day: str, rate: str) -> None:
    change(
        engine,
        "insert into exchange_rates (day, base, currency, rate, source) values (:day, 'EUR', 'USD', :rate, 'test')",
        day=day,
        rate=rate,
    )


def test_a_foreign_invoice_is_converted_at_the_rate_of_its_date(engine: Engine) -> None:
    add_rate(engine, "2026-11-19", "1.25")
    add_rate(engine, "2026-11-20", "2")
    order = received(engine, {}, {"item": "NUT-8"}, currency="USD")
    lines = ({"unit_price": "2.51"}, {"order_line": 2, "unit_price": "2.51"})
    case = invoice(engine, order, *lines, currency="usd", invoice_date="2026-11-19")
    in_euro = invoice(engine, order, *lines)
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "booked")
    assert state(engine, in_euro) == ("quarantined", "currency.differs")
    (kept,) = rows(engine, "select rate, rate_day from supplier_invoices where case_id = :id", id=case)
    assert kept == {"rate": Decimal("0.8"), "rate_day": date(2026, 11, 19)}
    posted = journal(engine, case)
    assert sum(debit for _, debit, _ in posted) == sum(credit for _, _, credit in posted)
    assert posted[-1] == ("1600", 0, Decimal("47.79"))
    document = rows(engine, "select document_amount, document_currency from journal_lines where account = '1600'")
    assert document == [{"document_amount": Decimal("-59.74"), "document_currency": "USD"}]


def test_without_a_rate_an_invoice_is_set_aside_until_there_is_one(engine: Engine) -> None:
    order = received(engine, currency="USD")
    case = invoice(engine, order, currency="USD")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("quarantined", "rate.missing")
    add_rate(engine, "2026-11-20", "2")
    release(engine, case)
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "booked")


def test_a_step_that_is_run_again_counts_and_books_nothing_twice(engine: Engine) -> None:
    order = received(engine)
    case = invoice(engine, order)
    position = claim(engine, WORKFLOW)
    assert position
    for step in ("read_invoice", "find_order", "match"):
        take(engine, position, step)
        take(engine, position, step)
    with authored(engine, actor="system:test") as connection:
        match(Work(connection, WORKFLOW, "match", position.claim_id, [case], "again"))
    assert counts(engine, order) == (10, 0, 10, 0)
    for step in ("book", "log"):
        take(engine, position, step)
        take(engine, position, step)
    with authored(engine, actor="system:test") as connection:
        again = booking.log(Work(connection, WORKFLOW, "log", position.claim_id, [case], "again"))
    assert again.close == {case: "booked"}
    assert len(effects(engine)) == 1
    assert len(journal(engine, case)) == 3


@pytest.mark.parametrize("after", ["read_invoice", "find_order", "match", "book"])
def test_a_run_that_died_goes_on_in_another_without_doing_anything_twice(engine: Engine, after: str) -> None:
    order = received(engine)
    case = invoice(engine, order)
    work(engine, WORKFLOW, until=after)
    change(engine, "update claims set lease_until = now() - interval '1 hour'")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "booked")
    assert counts(engine, order) == (10, 0, 10, 0)
    assert len(effects(engine)) == 1
    assert len(journal(engine, case)) == 3
    assert_balanced(engine)


def test_what_the_erp_has_is_not_changed_any_more_when_its_case_is_released(engine: Engine) -> None:
    order = received(engine)
    case = invoice(engine, order)
    work(engine, WORKFLOW, until="book")
    change(
        engine,
        """update cases set state = 'quarantined', claim_id = null, reasons = '[{"code": "error.log", "message": "x"}]'
           where id = :id""",
        id=case,
    )
    release(engine, case, lines=[invoiced(quantity=3)], number="R-changed")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "booked")
    assert counts(engine, order) == (10, 0, 10, 0)
    assert len(effects(engine)) == 1
    assert journal(engine, case)[0] == ("3000", Decimal("25.00"), 0)


@pytest.mark.parametrize(("over", "reason"), [("closed", "match.quantity"), ("cancelled", "order.cancelled")])
def test_an_invoice_that_waits_on_an_order_that_is_over_is_set_aside(engine: Engine, over: str, reason: str) -> None:
    order = add_order(engine)
    case = invoice(engine, order)
    work(engine, WORKFLOW)
    change(engine, "update purchase_orders set state = :state", state=over)
    with authored(engine, actor="system:test") as connection:
        store.wake(connection, [case])
    work(engine, WORKFLOW)
    assert state(engine, case) == ("quarantined", reason)


def refused_by_the_erp(engine: Engine) -> tuple[Order, int]:
    order = received(engine)
    change(
        engine,
        """insert into erp_documents (key, kind, number, order_key, document)
           values ('IN-0', 'invoice', 'IN-0', null, '{"supplier": "acme", "number": "R-66"}')""",
    )
    case = invoice(engine, order, number="R-66")
    work(engine, WORKFLOW)
    assert state(engine, case) == ("quarantined", "effect.erp")
    assert counts(engine, order) == (10, 0, 10, 0)
    assert journal(engine, case) == []
    return order, case


def test_discarding_an_invoice_that_the_erp_refused_takes_its_count_back(engine: Engine) -> None:
    order, case = refused_by_the_erp(engine)
    store.discard(engine, [case], reason="booked by hand", actor="user:jonas.braun")
    assert counts(engine, order) == (10, 0, 0, 0)
    assert rows(engine, "select * from supplier_invoice_numbers") == []
    assert_balanced(engine)


def test_an_invoice_that_the_erp_refused_counts_anew_when_it_is_corrected(engine: Engine) -> None:
    order, case = refused_by_the_erp(engine)
    release(engine, case, number="R-66a", lines=[invoiced(quantity=9)])
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "booked")
    assert counts(engine, order) == (10, 0, 9, 0)
    assert [payload["number"] for payload in effects(engine)] == ["R-66a"]


def test_a_booking_consumes_the_budget_and_a_credit_note_gives_it_back(engine: Engine) -> None:
    order = booked(engine)
    spent = "select committed, consumed from budgets"
    assert rows(engine, spent) == [{"committed": 0, "consumed": 25}]
    invoice(engine, order, {"quantity": 4}, kind="credit_note", corrects="R-100")
    work(engine, WORKFLOW)
    assert rows(engine, spent) == [{"committed": 0, "consumed": 15}]


def test_the_database_itself_refuses_a_journal_that_does_not_balance_or_changes(engine: Engine) -> None:
    booked(engine)
    with pytest.raises(Exception, match="another entry"), engine.begin() as connection:
        connection.execute(text("update journal_lines set debit = debit + 1 where debit > 0"))
    with pytest.raises(Exception, match="debit and credit of a document differ"), engine.begin() as connection:
        connection.execute(
            text("""
                insert into journal_lines (case_id, line, booked_on, document, supplier, account, debit, currency,
                                           document_amount, document_currency, text)
                select case_id, 99, booked_on, document, supplier, account, 1, currency, 0, currency, text
                from journal_lines limit 1""")
        )
