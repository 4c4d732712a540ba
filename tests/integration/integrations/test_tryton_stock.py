"""Stock in Tryton, against a real one: every movement there, each once, cut off and killed on the way too.

Each test ends by looking into Tryton's own tables, or by reading the stock as the reconciliation does.
"""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from include.integrations.http import Unavailable
from include.integrations.systems import Failed, Outcome, PendingEffect, Sent, Unknown
from include.integrations.tryton import Refused, Settings, TrytonErp
from include.integrations.tryton.check import missing
from tests.support.tryton import Server, proxy

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TODAY = datetime.now(UTC).date().isoformat()
KINDS = {"MAIN": "internal", "COLD": "internal", "SHOP": "internal", "TRANSIT": "transit", "SUPPLIER": "supplier",
         "CUSTOMER": "customer", "CONSUMPTION": "consumption", "SCRAP": "scrap", "ADJUSTMENT": "adjustment",
         "ATTIC": "internal"}  # fmt: skip
_numbers = itertools.count(1)


@pytest.fixture
def item() -> str:
    return f"BOLT-{next(_numbers):04}"


def effect(operation: str, **payload: Any) -> PendingEffect:
    number = next(_numbers)
    return PendingEffect(number, f"w/{number}/s/{operation}/t", operation, "t", payload, 1)


def line(item: str, source: str, destination: str, quantity: str, lot: str = "", **fields: Any) -> dict[str, Any]:
    return {
        "item": item, "title": f"The {item}", "unit": "pcs", "tracking": "lot" if lot else "none", "lot": lot,
        "from": {"code": source, "kind": KINDS[source]}, "to": {"code": destination, "kind": KINDS[destination]},
        "quantity": quantity, "unit_cost": None,
    } | fields  # fmt: skip


def moved(key: str, *lines: dict[str, Any], **fields: Any) -> PendingEffect:
    given = {"key": key, "kind": "transfer", "moved_on": TODAY, "reference": "SR-1", "lines": list(lines)}
    return effect("move_stock", **(given | fields))


def apply(erp: TrytonErp, *effects: PendingEffect) -> list[Outcome]:
    return [erp.apply(one.operation, [one])[0] for one in effects]


def sent(erp: TrytonErp, *effects: PendingEffect) -> list[Outcome]:
    outcomes = apply(erp, *effects)
    assert all(isinstance(outcome, Sent) for outcome in outcomes), outcomes
    return outcomes


def refusal(outcome: Outcome) -> str:
    assert isinstance(outcome, Failed), outcome
    assert outcome.permanent, outcome
    return outcome.error


def there(erp: TrytonErp, *items: str) -> dict[tuple[str, str], str]:
    found = erp.read("stock", ["MAIN", "COLD", "SHOP", "TRANSIT"]).values()
    return {(one["item"], one["location"]): one["quantity"] for one in found if one["item"] in items}


INTERNAL = "select state, effective_date::text from stock_shipment_internal where reference like %s order by reference"
MOVES = """
    select f.code, t.code, m.quantity, m.unit_price, m.state from stock_move m
    join stock_location f on f.id = m.from_location join stock_location t on t.id = m.to_location
    join product_product p on p.id = m.product where p.code = %s order by m.id"""
COST = """
    select v.cost_price from product_cost_price v join product_product p on p.id = v.product where p.code = %s"""


def test_every_kind_of_movement_is_a_document_of_tryton_s_and_everything_twice_is_once(
    server: Server, erp: TrytonErp, item: str
) -> None:
    steps = [
        effect("upsert_product", key=item, title="Bolt M8", unit="pcs", group="material", tracking="none",
               standard_cost="2.00", active=True),
        moved(f"SM-1{item}", line(item, "SUPPLIER", "MAIN", "100", unit_cost="3.5"), kind="receipt"),
        moved(f"SM-2{item}", line(item, "MAIN", "TRANSIT", "30")),
        moved(f"SM-3{item}", line(item, "TRANSIT", "SHOP", "29"), line(item, "TRANSIT", "ADJUSTMENT", "1")),
        moved(f"SM-4{item}", line(item, "SHOP", "CUSTOMER", "5", lot="L1"), line(item, "SHOP", "CUSTOMER", "2"),
              kind="issue"),
        moved(f"SM-5{item}", line(item, "CUSTOMER", "SHOP", "1"), kind="return"),
        moved(f"SM-6{item}", line(item, "MAIN", "CONSUMPTION", "10"), kind="consumption"),
        moved(f"SM-7{item}", line(item, "MAIN", "SCRAP", "3"), kind="write_off"),
        moved(f"SM-8{item}", line(item, "ADJUSTMENT", "MAIN", "4"), line(item, "SHOP", "ADJUSTMENT", "2"),
              kind="adjustment"),
        moved(f"SM-9{item}", line(item, "MAIN", "SUPPLIER", "6", unit_cost="3.5"), kind="supplier_return"),
    ]  # fmt: skip
    first = sent(erp, *steps)
    expected = {(item, "MAIN"): "55", (item, "SHOP"): "21"}
    assert there(erp, item) == expected
    assert sent(erp, *steps) == first
    settled = [server.provider().settle(one.operation, [one])[0] for one in steps]
    assert all(isinstance(outcome, Sent) for outcome in settled), settled
    assert there(erp, item) == expected
    assert server.rows(MOVES, item) == [
        ("SUP", "MAIN", 100.0, Decimal("3.5000"), "done"),
        ("MAIN", "TRANSIT", 30.0, None, "done"),
        ("TRANSIT", "ADJUSTMENT", 1.0, None, "done"),
        ("TRANSIT", "SHOP", 29.0, None, "done"),
        ("SHOP", "CUS", 7.0, Decimal(0), "done"),
        ("CUS", "SHOP", 1.0, Decimal(0), "done"),
        ("MAIN", "CONSUMPTION", 10.0, None, "done"),
        ("MAIN", "SCRAP", 3.0, None, "done"),
        ("ADJUSTMENT", "MAIN", 4.0, None, "done"),
        ("SHOP", "ADJUSTMENT", 2.0, None, "done"),
        ("MAIN", "SUP", 6.0, Decimal("3.5000"), "done"),
    ]
    assert server.rows(INTERNAL, f"SM-3{item}%") == [("done", TODAY)] * 2
    assert server.rows(COST, item) == [(Decimal("3.5000"),)], "the receipt's cost is the average's"
    assert erp.read("product", [item, "NOTHING"]) == {
        item: {"title": "Bolt M8", "unit": "u", "group": None, "tracking": "none", "standard_cost": "3.5",
               "active": True},
    }  # fmt: skip
    sent(erp, effect("upsert_product", key=item, title="Other", unit="pcs", standard_cost="9"))
    assert erp.read("product", [item])[item]["title"] == "Bolt M8", "what the ERP knows is the ERP's to say"


def test_what_is_bought_is_the_product_that_is_stocked_and_lies_where_it_was_put(
    server: Server, erp: TrytonErp, item: str
) -> None:
    bought = {"line": 1, "item": item, "description": "Bolts", "quantity": "10", "unit": "pcs", "unit_price": "4.00",
              "tax_rate": "0.19", "account": "3000", "cost_centre": "6300"}  # fmt: skip
    came = {"order": f"PO-{item}", "received_on": TODAY, "location": "COLD"}
    some = {"order_line": 1, "item": item}
    sent(
        erp,
        effect("upsert_product", key=item, title="Bolt", unit="pcs"),
        effect("upsert_supplier", key=f"S-{item}", name="Acme", country="DE", currency="EUR"),
        effect("create_purchase_order", key=f"PO-{item}", supplier=f"S-{item}", currency="EUR", date=TODAY,
               needed_by=None, reference="PR", lines=[bought]),
        effect("receive_goods", key=f"GR-{item}", lines=[some | {"quantity": "8", "stock_quantity": "8"}], **came),
        effect("return_goods", key=f"RT-{item}", lines=[some | {"quantity": "3", "stock_quantity": "3"}], **came),
        moved(f"SM-{item}", line(item, "COLD", "MAIN", "1")),
    )  # fmt: skip
    assert there(erp, item) == {(item, "COLD"): "4", (item, "MAIN"): "1"}
    assert server.rows("select count(*) from product_product where code = %s", item) == [(1,)]


def test_what_tryton_thinks_is_not_there_moves_all_the_same(server: Server, erp: TrytonErp, item: str) -> None:
    """Of a product that the company entered itself, and that Tryton would rather not move."""
    sent(erp, effect("upsert_product", key=item, title="Bolt", unit="pcs"))
    server.change(
        "update product_template set consumable = false where id = (select template from product_product where"
        " code = %s)", item,
    )  # fmt: skip
    with server.client(login="admin") as admin:  # its cache is not told of a change in the table
        found = admin.search_read("product.product", [("code", "=", item)], ["template"])
        admin.write("product.template", [found[0]["template"]], {"consumable": False})
    sent(erp, moved(f"SM-1{item}", line(item, "MAIN", "COLD", "3")))
    sent(erp, moved(f"SM-2{item}", line(item, "MAIN", "CUSTOMER", "1"), kind="issue"))
    assert there(erp, item) == {(item, "MAIN"): "-4", (item, "COLD"): "3"}


@pytest.mark.parametrize("method", ["create", "wait", "assign_try", "do"])
def test_an_answer_lost_in_a_transfer_is_settled_by_looking(server: Server, item: str, method: str) -> None:
    one = moved(f"SM-{item}", line(item, "MAIN", "TRANSIT", "3"), line(item, "MAIN", "ADJUSTMENT", "1"))
    sent(server.provider(), effect("upsert_product", key=item, title="Bolt", unit="pcs"))
    _lose_and_settle(server, one, method)
    assert there(server.provider(), item) == {(item, "MAIN"): "-4", (item, "TRANSIT"): "3"}


@pytest.mark.parametrize("method", ["create", "pack"])
def test_an_answer_lost_in_an_issue_is_settled_by_looking(server: Server, item: str, method: str) -> None:
    one = moved(f"SM-{item}", line(item, "SHOP", "CUSTOMER", "3"), kind="issue")
    sent(server.provider(), effect("upsert_product", key=item, title="Bolt", unit="pcs"))
    _lose_and_settle(server, one, method)
    assert there(server.provider(), item) == {(item, "SHOP"): "-3"}


def _lose_and_settle(server: Server, one: PendingEffect, method: str) -> None:
    with proxy(server.tryton.url) as door:
        cut = server.provider(door.url, under_way=1)
        door.at(method, "lose")
        (outcome,) = cut.apply(one.operation, [one])
        assert isinstance(outcome, Unknown), outcome
    erp = server.provider(under_way=1)
    (settled,) = erp.settle(one.operation, [one])
    if not isinstance(settled, Sent):
        assert isinstance(settled, Failed)
        assert not settled.permanent
        assert settled.retry_after
        sent(erp, one)
        (settled,) = erp.settle(one.operation, [one])
    assert isinstance(settled, Sent)


def test_a_server_killed_in_the_middle_of_a_transfer_moves_once(server: Server, item: str) -> None:
    one = moved(f"SM-{item}", line(item, "MAIN", "COLD", "3"))
    sent(server.provider(), effect("upsert_product", key=item, title="Bolt", unit="pcs"))
    with proxy(server.tryton.url) as door:
        cut = server.provider(door.url)
        door.at("do", "before", lambda: server.kill_at_a_write_to("stock_move"))
        (outcome,) = cut.apply(one.operation, [one])
        assert isinstance(outcome, Unknown), outcome
        with pytest.raises(Unavailable):
            server.provider().read("stock", ["MAIN"])
        server.start()
        sent(cut, one)
    assert there(server.provider(), item) == {(item, "MAIN"): "-3", (item, "COLD"): "3"}
    assert len(server.rows(INTERNAL, f"SM-{item}%")) == 1


def test_a_place_that_tryton_has_not_got_is_said_and_nothing_moves(server: Server, erp: TrytonErp, item: str) -> None:
    (outcome,) = apply(erp, moved(f"SM-{item}", line(item, "MAIN", "COLD", "1"), line(item, "MAIN", "ATTIC", "1")))
    assert "no location with the code 'ATTIC'" in refusal(outcome)
    assert there(erp, item) == {}
    with pytest.raises(Refused, match="ATTIC"):
        erp.read("stock", ["MAIN", "ATTIC"])
    today = datetime.now(UTC).date()
    with server.client() as client:
        places = {code: KINDS[code] for code in ("MAIN", "COLD", "SHOP", "TRANSIT", "CUSTOMER", "ATTIC")}
        (said,) = missing(client, Settings(), accounts=[], rates=[], today=today, locations=places)
    assert "ATTIC" in said


def test_what_cannot_be_is_refused_for_good(erp: TrytonErp, item: str) -> None:
    assert "no lines" in refusal(apply(erp, moved(f"SM-1{item}"))[0])
    wrong = moved(f"SM-2{item}", line(item, "SUPPLIER", "CUSTOMER", "1"))
    assert "no document from a supplier to a customer" in refusal(apply(erp, wrong)[0])
    assert "unit 'crate'" in refusal(apply(erp, moved(f"SM-3{item}", line(item, "MAIN", "COLD", "1", unit="crate")))[0])
    assert "Quantity" in refusal(apply(erp, moved(f"SM-4{item}", line(item, "MAIN", "COLD", "0.5")))[0])
    assert there(erp, item) == {}


def test_a_request_of_many_lines_is_few_moves_and_of_many_moves_several_documents(
    server: Server, erp: TrytonErp, item: str
) -> None:
    items = [f"{item}-{n}" for n in range(3)]
    sold = [line(items[n % 3], "MAIN", "CUSTOMER", "1", unit_cost=f"{n}") for n in range(600)]
    bought = [line(items[n % 3], "SUPPLIER", "SHOP", "1", unit_cost=f"{n + 1}") for n in range(120)]
    sent(erp, moved(f"SM-1{item}", *sold, kind="issue"))
    began = time.perf_counter()
    sent(erp, moved(f"SM-2{item}", *bought, kind="receipt"))
    print(f"120 moves: {time.perf_counter() - began:.1f} s")
    assert there(erp, *items) == {(one, "MAIN"): "-200" for one in items} | {(one, "SHOP"): "40" for one in items}
    assert len(server.rows(MOVES, items[0])) == 41
    assert server.rows("select count(*) from stock_shipment_in where reference like %s", f"SM-2{item}%") == [(2,)]
