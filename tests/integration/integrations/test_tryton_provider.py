"""Tryton as the `erp` role, against a real Tryton: request to booked invoice, killed and cut off on the way.

Each test ends by looking into Tryton's own tables: every document there, each once.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import URL, Engine

from include.integrations import ledger
from include.integrations.http import NotAuthorised
from include.integrations.systems import Effect, Failed, Mode, Outcome, PendingEffect, Sent, Unknown
from include.integrations.tryton import Settings, TrytonErp
from include.integrations.tryton.check import missing
from tests.support.tryton import Server, proxy
from tests.support.work import change, receive, rows

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TODAY = datetime.now(UTC).date().isoformat()
_numbers = itertools.count(1)


@pytest.fixture
def number() -> str:
    return f"{next(_numbers):04}"


def effect(operation: str, **payload: Any) -> PendingEffect:
    number = next(_numbers)
    return PendingEffect(number, f"w/{number}/s/{operation}/t", operation, "t", payload, 1)


def supplier(number: str, **fields: Any) -> PendingEffect:
    given = {
        "key": f"S-{number}", "name": "Ä & Söhne", "email": f"o{number}@acme.example", "tax_id": "DE123456788",
        "country": "DE", "currency": "EUR",
    }  # fmt: skip
    return effect("upsert_supplier", **(given | fields))


LAPTOPS = {
    "line": 1, "item": "LAPTOP", "description": "Laptop 14\"", "quantity": "10", "unit": "pcs",
    "unit_price": "999.90", "tax_rate": "0.19", "account": "0650", "cost_centre": "5200",
}  # fmt: skip
HOURS = {
    "line": 2, "item": None, "description": "Setting up", "quantity": "3.5", "unit": "h",
    "unit_price": "80.00", "tax_rate": "0.19", "account": "3100", "cost_centre": "5200",
}  # fmt: skip
BOOKS = {
    "line": 3, "item": None, "description": "Books", "quantity": "2", "unit": "pcs",
    "unit_price": "20.00", "tax_rate": "0.07", "account": "4930", "cost_centre": "5200",
}  # fmt: skip


def order(number: str, lines: Sequence[dict[str, Any]] = (LAPTOPS, HOURS, BOOKS), **fields: Any) -> PendingEffect:
    given = {
        "key": f"PO-{number}", "supplier": f"S-{number}", "supplier_name": "Ä & Söhne", "currency": "EUR",
        "date": TODAY, "needed_by": None, "reference": f"PR-{number}", "lines": list(lines),
    }  # fmt: skip
    return effect("create_purchase_order", **(given | fields))


def goods(key: str, number: str, quantities: dict[int, str], operation: str = "receive_goods") -> PendingEffect:
    lines = [{"order_line": line, "quantity": quantity} for line, quantity in quantities.items()]
    return effect(operation, key=f"{key}-{number}", order=f"PO-{number}", received_on=TODAY, lines=lines)


def invoice(
    key: str, number: str, net: str, tax: str, gross: str, *lines: dict[str, Any], **fields: Any
) -> PendingEffect:
    given = {
        "key": f"{key}-{number}", "kind": "invoice", "number": f"R-{key}-{number}", "supplier": f"S-{number}",
        "order": f"PO-{number}", "date": TODAY, "due_date": TODAY, "currency": "EUR", "lines": list(lines),
        "net": net, "tax": tax, "gross": gross,
    }  # fmt: skip
    return effect("book_invoice", **(given | fields))


def billed(of: dict[str, Any], quantity: str, net: str, tax: str, **fields: Any) -> dict[str, Any]:
    kept = {name: of[name] for name in ("description", "unit_price", "tax_rate", "account", "cost_centre")}
    return {"order_line": of["line"], "quantity": quantity, "net": net, "tax": tax} | kept | fields


def apply(erp: TrytonErp, *effects: PendingEffect) -> list[Outcome]:
    return [erp.apply(one.operation, [one])[0] for one in effects]


def sent(erp: TrytonErp, *effects: PendingEffect) -> list[Sent]:
    outcomes = apply(erp, *effects)
    assert all(isinstance(outcome, Sent) for outcome in outcomes), outcomes
    return [outcome for outcome in outcomes if isinstance(outcome, Sent)]


def refusal(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed), outcome
    assert outcome.permanent, outcome
    return outcome.error


PURCHASES = "select state, shipment_state, invoice_state from purchase_purchase where reference = %s order by id"
SHIPMENTS = "select state from stock_shipment_in where reference = %s order by id"
RETURNS = "select state from stock_shipment_in_return where reference = %s order by id"
INVOICES = "select state from account_invoice where description = %s order by id"
RECEIVED = """
    select l.sequence, sum(m.quantity) from stock_move m join purchase_line l on m.origin = 'purchase.line,' || l.id
    join purchase_purchase p on p.id = l.purchase where p.reference = %s and m.state = 'done' group by 1 order by 1"""
POSTED = """
    select a.code, sum(l.debit) - sum(l.credit) from account_move_line l join account_move m on m.id = l.move
    join account_invoice i on i.move = m.id join account_account a on a.id = l.account
    where i.description = any(%s) and m.state = 'posted' group by 1 order by 1"""


def test_from_supplier_to_booked_invoice_and_credit_note_and_everything_twice_is_once(
    server: Server, erp: TrytonErp, number: str
) -> None:
    steps = [
        supplier(number),
        order(number),
        goods("GR1", number, {1: "4", 2: "3.5"}),
        goods("GR2", number, {1: "6", 3: "2"}),
        invoice(
            "IN1", number, "10319.00", "1956.01", "12275.01",
            billed(LAPTOPS, "10", "9999.00", "1899.81"), billed(HOURS, "3.5", "280.00", "53.20"),
            billed(BOOKS, "2", "40.00", "2.80"),
        ),
        invoice(
            "IN2", number, "999.90", "189.98", "1189.88", billed(LAPTOPS, "1", "999.90", "189.98"), kind="credit_note"
        ),
    ]  # fmt: skip
    steps[4].payload.update(tax="1955.81", gross="12274.81")
    first = sent(erp, *steps)
    assert sent(erp, *steps) == first
    assert [server.provider().settle(one.operation, [one])[0] for one in steps] == first
    assert server.rows(PURCHASES, f"PO-{number}") == [("processing", "received", "awaiting payment")]
    assert server.rows(RECEIVED, f"PO-{number}") == [(1, 10.0), (2, 3.5), (3, 2.0)]
    assert server.rows(SHIPMENTS, f"GR1-{number}") == server.rows(SHIPMENTS, f"GR2-{number}") == [("done",)]
    assert server.rows(INVOICES, f"IN1-{number}") == server.rows(INVOICES, f"IN2-{number}") == [("posted",)]
    assert dict(server.rows(POSTED, [f"IN1-{number}", f"IN2-{number}"])) == {
        "0650": Decimal("8999.10"),
        "3100": Decimal("280.00"),
        "4930": Decimal("40.00"),
        "1576": Decimal("1763.03"),
        "1571": Decimal("2.80"),
        "1600": Decimal("-11084.93"),
    }
    assert first[4].answer["number"].startswith("ER-")
    assert first[5].answer["number"].startswith("EG-")
    assert first[1].answer["number"] == erp.read("order", [f"PO-{number}"])[f"PO-{number}"]["number"]
    assert erp.read("order", ["PO-nowhere"]) == {}


def test_more_than_ordered_and_what_goes_back_pass_tryton_s_warnings(
    server: Server, erp: TrytonErp, number: str
) -> None:
    steps = [
        supplier(number),
        order(number, [LAPTOPS]),
        goods("GR1", number, {1: "8"}),
        goods("GR2", number, {1: "3"}),  # two were expected
        goods("GR3", number, {1: "1"}),  # and none
        goods("RT1", number, {1: "2"}, "return_goods"),
    ]
    first = sent(erp, *steps)
    assert sent(erp, *steps) == first
    assert server.rows(RECEIVED, f"PO-{number}") == [(1, 12.0)]
    assert server.rows(RETURNS, f"RT1-{number}") == [("done",)]
    assert server.rows("select count(*) from res_user_warning") == [(0,)], "an answered warning is used up"


def test_a_supplier_is_read_as_tryton_keeps_it_and_is_not_renamed(server: Server, erp: TrytonErp, number: str) -> None:
    key = f"S-{number}"
    sent(erp, supplier(number, email=None), supplier(number, name="Other", country="AT"))
    assert erp.read("supplier", [key, "S-nobody"]) == {
        key: {
            "name": "Ä & Söhne",
            "active": True,
            "blocked": False,
            "email": f"o{number}@acme.example",
            "currency": "EUR",
            "country": "DE",
            "orders_by_mail": False,
            "language": None,
        }
    }
    with server.client(login="admin") as admin:
        (party,) = admin.search_read("party.party", [("code", "=", key)], ["id"])
        (german,) = admin.search_read("ir.lang", [("code", "=", "de")], ["id"])
        made = [admin.create("party.category", {"name": name}) for name in ("Blocked", "Orders by mail")]
        admin.write(
            "party.party", [party["id"]], {"lang": german["id"], "categories": [("add", made)], "active": False}
        )
    found = erp.read("supplier", [key])[key]
    assert (found["active"], found["blocked"], found["orders_by_mail"], found["language"]) == (False, True, True, "de")
    assert "no active party" in refusal(apply(erp, order(number))[0])
    assert server.rows("select count(*) from party_party where code = %s", key) == [(1,)]


def test_an_order_is_cancelled_before_and_after_tryton_works_on_it_but_not_after_a_receipt(
    server: Server, erp: TrytonErp, number: str
) -> None:
    cancel = effect("cancel_purchase_order", key=f"PO-{number}")
    (outcome,) = apply(erp, cancel)
    assert isinstance(outcome, Failed)
    assert not outcome.permanent
    sent(erp, supplier(number), order(number), cancel, cancel)
    assert server.rows(PURCHASES, f"PO-{number}") == [("processing", "none", "none")]
    assert erp.read("order", [f"PO-{number}"])[f"PO-{number}"]["state"] == "cancelled"
    other = f"{number}b"
    sent(erp, supplier(other), order(other, [LAPTOPS]), goods("GR1", other, {1: "1"}))
    assert "stays" in refusal(apply(erp, effect("cancel_purchase_order", key=f"PO-{other}"))[0])


@pytest.mark.parametrize("method", ["create", "quote", "confirm"])
def test_an_answer_lost_after_an_order_s_call_is_settled_by_looking(server: Server, number: str, method: str) -> None:
    sent(server.provider(), supplier(number))
    _lose_and_settle(server, order(number, [LAPTOPS]), method)
    assert server.rows(PURCHASES, f"PO-{number}") == [("processing", "waiting", "none")]


@pytest.mark.parametrize("method", ["create", "receive", "do"])
def test_an_answer_lost_after_a_receipt_s_call_is_settled_by_looking(server: Server, number: str, method: str) -> None:
    sent(server.provider(), supplier(number), order(number, [LAPTOPS]))
    _lose_and_settle(server, goods("GR1", number, {1: "4"}), method)
    assert server.rows(SHIPMENTS, f"GR1-{number}") == [("done",)]
    assert server.rows(RECEIVED, f"PO-{number}") == [(1, 4.0)]


@pytest.mark.parametrize("method", ["create", "post"])
def test_an_answer_lost_after_an_invoice_s_call_is_settled_by_looking(server: Server, number: str, method: str) -> None:
    sent(server.provider(), supplier(number))
    line = billed(BOOKS, "2", "40.00", "2.80", order_line=None)
    _lose_and_settle(server, invoice("IN1", number, "40.00", "2.80", "42.80", line, order=None), method)
    assert server.rows(INVOICES, f"IN1-{number}") == [("posted",)]


def _lose_and_settle(server: Server, one: PendingEffect, method: str) -> None:
    with proxy(server.tryton.url) as door:
        cut = server.provider(door.url)
        door.at(method, "lose")
        (outcome,) = cut.apply(one.operation, [one])
        assert isinstance(outcome, Unknown), outcome
    erp = server.provider()
    (settled,) = erp.settle(one.operation, [one])
    if not isinstance(settled, Sent):
        assert isinstance(settled, Failed)
        assert not settled.permanent
        assert settled.retry_after, "it is there, half done"
        assert settled.retry_after < 10
        sent(erp, one)
        (settled,) = erp.settle(one.operation, [one])
    assert isinstance(settled, Sent)


def test_a_server_killed_in_the_middle_of_a_confirmation_leaves_one_order(server: Server, number: str) -> None:
    one = order(number)
    sent(server.provider(), supplier(number))
    with proxy(server.tryton.url) as door:
        cut = server.provider(door.url)
        door.at("confirm", "before", lambda: server.kill_at_a_write_to("purchase_purchase"))
        (outcome,) = cut.apply(one.operation, [one])
        assert isinstance(outcome, Unknown), outcome
        (again,) = server.provider().apply(one.operation, [one])
        assert isinstance(again, Failed), again
        assert not again.permanent, "a server that is away is no one's fault"
        server.start()
        (settled,) = cut.settle(one.operation, [one])
        assert isinstance(settled, Sent | Failed)
        sent(cut, one)
    assert len(server.rows(PURCHASES, f"PO-{number}")) == 1
    sent(server.provider(), goods("GR1", number, {1: "10", 2: "3.5", 3: "2"}))
    assert server.rows(PURCHASES, f"PO-{number}") == [("processing", "received", "none")]


def test_a_call_that_arrives_after_its_sender_gave_up_is_waited_for(server: Server, number: str) -> None:
    one = order(number, [LAPTOPS])
    sent(server.provider(), supplier(number))
    with proxy(server.tryton.url) as door:
        cut = server.provider(door.url, under_way=3)
        door.at("create", "hold")
        assert isinstance(cut.apply(one.operation, [one])[0], Unknown)
        (settled,) = cut.settle(one.operation, [one])
        assert isinstance(settled, Failed)
        assert settled.retry_after == 3, "it is not sent again while it may be under way"
        door.release.set()
        assert door.happened.wait(10)
        sent(cut, one)
    assert server.rows(PURCHASES, f"PO-{number}") == [("processing", "waiting", "none")]


def test_a_call_that_arrives_even_later_leaves_a_draft_that_is_deleted(server: Server, number: str) -> None:
    one, receipt = order(number, [LAPTOPS]), goods("GR1", number, {1: "10"})
    over = goods("GR2", number, {1: "1"})
    bill = invoice("IN1", number, "999.90", "189.98", "1189.88", billed(LAPTOPS, "1", "999.90", "189.98"), order=None)
    sent(server.provider(), supplier(number))
    with proxy(server.tryton.url) as door:
        for effect_ in (one, receipt, over, bill):
            cut = server.provider(door.url)
            door.at("create", "hold")
            assert isinstance(cut.apply(effect_.operation, [effect_])[0], Unknown)
            first = sent(server.provider(), effect_)
            door.release.set()
            assert door.happened.wait(10)
            assert sent(server.provider(), effect_) == first
    assert server.rows(PURCHASES, f"PO-{number}") == [("processing", "received", "none")]
    assert server.rows(RECEIVED, f"PO-{number}") == [(1, 11.0)]
    assert server.rows(SHIPMENTS, f"GR1-{number}") == [("done",)]
    assert [state for (state,) in server.rows(SHIPMENTS, f"GR2-{number}") if state != "cancelled"] == ["done"]
    assert server.rows(INVOICES, f"IN1-{number}") == [("posted",)]


def test_many_at_once_make_one_record_a_key(server: Server, number: str) -> None:
    """Four processes, each with suppliers of its own and one in common; then one order that all of them bring."""
    outcomes: list[Outcome] = []
    ready = threading.Barrier(4)

    def work(worker: int) -> None:
        erp = server.provider()
        ready.wait()
        mine = [supplier(f"{number}-{worker}-{n}") for n in range(4)]
        outcomes.extend(apply(erp, supplier(number), *mine))
        ready.wait()
        for _ in range(10):
            (outcome,) = apply(erp, order(number, [LAPTOPS]))
            if isinstance(outcome, Sent):
                break
            assert isinstance(outcome, Failed), outcome
            assert not outcome.permanent, outcome
            time.sleep(0.3)
        erp.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert not [one for one in outcomes if isinstance(one, Failed) and one.permanent], outcomes
    erp = server.provider()
    sent(erp, supplier(number), *(supplier(f"{number}-{w}-{n}") for w in range(4) for n in range(4)))
    assert server.rows("select count(*) from party_party where code like %s", f"S-{number}%") == [(17,)]
    sent(erp, order(number, [LAPTOPS]))
    assert server.rows(PURCHASES, f"PO-{number}") == [("processing", "waiting", "none")]


def test_two_receipts_at_once_do_not_take_each_other_s_goods(server: Server, number: str) -> None:
    sent(server.provider(), supplier(number), order(number, [LAPTOPS]))
    receipts = [goods(f"GR{n}", number, {1: "3"}) for n in range(3)]

    def bring(one: PendingEffect) -> None:
        erp = server.provider()
        for _ in range(20):
            (outcome,) = erp.apply(one.operation, [one])
            if isinstance(outcome, Sent):
                break
            assert isinstance(outcome, Failed), outcome
            assert not outcome.permanent, outcome

    with ThreadPoolExecutor(len(receipts)) as pool:
        list(pool.map(bring, receipts))
    assert server.rows(RECEIVED, f"PO-{number}") == [(1, 9.0)]
    for one in receipts:
        assert server.rows(SHIPMENTS, one.payload["key"]) == [("done",)]


def test_tryton_s_refusal_is_for_good_and_short(server: Server, erp: TrytonErp, number: str) -> None:
    sent(erp, supplier(number))
    half = {**LAPTOPS, "quantity": "0.5", "description": "x" * 40_000}
    said = refusal(apply(erp, order(number, [half]))[0])
    assert "Quantity" in said
    assert len(said) < 400
    assert "unit 'crate'" in refusal(apply(erp, order(number, [{**LAPTOPS, "unit": "crate"}]))[0])
    assert "tax of 0.21" in refusal(apply(erp, order(number, [{**LAPTOPS, "tax_rate": "0.21"}]))[0])
    line = billed(BOOKS, "2", "40.00", "2.80", order_line=None, account="9999")
    wrong = invoice("IN1", number, "40.00", "2.80", "42.80", line, order=None)
    assert "account '9999'" in refusal(apply(erp, wrong)[0])
    assert server.rows(PURCHASES, f"PO-{number}") == []


def test_one_bad_effect_harms_no_other(server: Server, erp: TrytonErp, number: str) -> None:
    effects = [supplier(f"{number}-{n}") for n in range(3)]
    del effects[1].payload["name"]
    outcomes = erp.apply("upsert_supplier", effects)
    assert [isinstance(outcome, Sent) for outcome in outcomes] == [True, False, True]
    assert refusal(outcomes[1])


def test_an_invoice_is_posted_to_the_cent_as_the_supplier_wrote_it_or_not_at_all(
    server: Server, erp: TrytonErp, number: str
) -> None:
    sent(erp, supplier(number))
    odd = billed(BOOKS, "3", "100.00", "19.01", order_line=None, unit_price="33.33", tax_rate="0.19")
    sent(erp, invoice("IN1", number, "100.00", "19.01", "119.01", odd, order=None))
    assert dict(server.rows(POSTED, [f"IN1-{number}"])) == {
        "4930": Decimal("100.00"),
        "1576": Decimal("19.01"),
        "1600": Decimal("-119.01"),
    }
    wrong = invoice("IN2", number, "100.00", "25.00", "125.00", odd, order=None)
    assert "correct or delete the draft" in refusal(apply(erp, wrong)[0])
    assert server.rows(POSTED, [f"IN2-{number}"]) == []


def test_a_warning_that_waybill_has_not_decided_goes_to_a_person(server: Server, erp: TrytonErp, number: str) -> None:
    sent(erp, supplier(number))
    line = billed(BOOKS, "2", "40.00", "2.80", order_line=None)
    sent(erp, invoice("IN1", number, "40.00", "2.80", "42.80", line, order=None))
    twice = invoice("IN2", number, "40.00", "2.80", "42.80", line, order=None)
    twice.payload["number"] = f"R-IN1-{number}"
    said = refusal(apply(erp, twice)[0])
    assert "Tryton asks (invoice_similar)" in said
    assert server.rows(INVOICES, f"IN2-{number}") == [("draft",)]


def test_a_wrong_password_is_said_in_words(server: Server, number: str) -> None:
    with pytest.raises(NotAuthorised) as refused:
        server.provider(password="wrong").read("supplier", ["x"])
    assert "correct Login, Password and Schema (the database) in its connection" in str(refused.value)
    assert "wrong" not in str(refused.value)
    (outcome,) = apply(server.provider(password="wrong"), supplier(number))
    assert isinstance(outcome, Failed)
    assert not outcome.permanent, "it goes on as soon as the connection is corrected"
    assert "correct" in outcome.error


def test_a_session_that_ends_is_opened_again_once(server: Server, erp: TrytonErp, number: str) -> None:
    sent(erp, supplier(number))
    server.change("delete from ir_session")
    sent(erp, order(number, [LAPTOPS]))
    server.change("delete from ir_session")
    outcomes: list[Any] = []
    threads = [threading.Thread(target=lambda: outcomes.append(erp.read("order", [f"PO-{number}"]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 4
    assert server.rows("select count(*) from ir_session") == [(1,)]
    erp.close()
    assert server.rows("select count(*) from ir_session") == [(0,)], "it logs out"


def test_what_a_tryton_lacks_is_said(server: Server) -> None:
    today = datetime.now(UTC).date()
    with server.client() as client:
        assert missing(client, Settings(), accounts=["0650"], rates=[Decimal("0.19")], today=today) == []
        far = today + timedelta(days=9 * 365)
        lacking = missing(client, Settings(), accounts=["9999"], rates=[Decimal("0.21")], today=far)
    assert [word for word in ("9999", "0.21", "fiscal year") if not any(word in line for line in lacking)] == []
    with server.client(login="admin") as admin:
        (user,) = admin.search_read("res.user", [("login", "=", "waybill")], ["groups"])
        (group,) = admin.search_read("res.group", [("name", "=", "Purchase")], ["id"])
        admin.write("res.user", [user["id"]], {"groups": [("remove", [group["id"]])]})
        with server.client() as client:
            (said,) = missing(client, Settings(), accounts=[], rates=[], today=today)
        admin.write("res.user", [user["id"]], {"groups": [("add", [group["id"]])]})
    assert "purchase.purchase" in said


def test_the_airflow_connection_leads_to_it(server: Server, database_url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    from waybill.hooks.tryton import TrytonHook
    from waybill.systems import closing_provider

    monkeypatch.setenv("WAYBILL_DATABASE_URL", database_url.render_as_string(hide_password=False))
    monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_ERP", server.tryton.connection())
    assert TrytonHook("waybill_erp").test_connection() == (True, "Tryton answers, and has what Waybill needs")
    with closing_provider("erp") as found:
        assert isinstance(found, TrytonErp)
        assert found.read("supplier", ["nobody"]) == {}
    wrong = json.loads(server.tryton.connection()) | {"password": "wrong"}
    monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_ERP", json.dumps(wrong))
    good, said = TrytonHook("waybill_erp").test_connection()
    assert not good
    assert "does not let 'waybill' in" in said


def test_the_ledger_brings_requests_to_booked_invoices_through_a_server_that_is_killed(
    server: Server, engine: Engine, number: str
) -> None:
    """Three purchases, effect by effect; Tryton is killed while it confirms the second order."""
    numbers = [f"{number}-{n}" for n in range(3)]
    cases = receive(engine, 3, workflow="purchase_approval", stage="order")
    line = billed(LAPTOPS, "10", "9999.00", "1899.81")
    planned = [
        Effect(
            f"purchase/{case}/{one.operation}/{one.payload['key']}", "erp", one.operation, case, step, "t", one.payload
        )
        for case, of in zip(cases, numbers, strict=True)
        for step, one in (
            ("order", supplier(of)),
            ("order", order(of, [LAPTOPS])),
            ("receive", goods("GR1", of, {1: "4"})),
            ("receive", goods("GR2", of, {1: "6"})),
            ("book", invoice("IN1", of, "9999.00", "1899.81", "11898.81", line)),
        )
    ]
    with engine.begin() as connection:
        assert ledger.write(connection, planned, Mode.LIVE) == 15
    confirmed = itertools.count(1)

    def kill_at_the_second() -> None:
        if next(confirmed) == 2:
            server.kill_at_a_write_to("purchase_purchase")
        else:
            door.at("confirm", "before", kill_at_the_second)

    with proxy(server.tryton.url) as door:
        erp = server.provider(door.url, under_way=1)
        door.at("confirm", "before", kill_at_the_second)
        for _ in range(12):
            ledger.deliver(engine, erp, system="erp")
            if server.process is None or server.process.poll() is not None:
                server.start()
            states = {row["state"] for row in rows(engine, "select distinct state from effects")}
            if states == {"sent"}:
                break
            change(engine, "update effects set available_at = now() where state in ('failed', 'unknown')")
    assert next(confirmed) >= 3, "it was killed"
    assert rows(engine, "select state, count(*) as n from effects group by state") == [{"state": "sent", "n": 15}]
    for of in numbers:
        assert server.rows("select count(*) from party_party where code = %s", f"S-{of}") == [(1,)]
        assert server.rows(PURCHASES, f"PO-{of}") == [("processing", "received", "awaiting payment")]
        assert server.rows(SHIPMENTS, f"GR1-{of}") == server.rows(SHIPMENTS, f"GR2-{of}") == [("done",)]
        assert server.rows(RECEIVED, f"PO-{of}") == [(1, 10.0)]
        assert server.rows(INVOICES, f"IN1-{of}") == [("posted",)]
