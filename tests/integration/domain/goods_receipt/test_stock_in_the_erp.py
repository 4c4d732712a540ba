"""What the ERP is told of goods that are kept in stock: where they were put, and how many of the base unit."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Engine

from include.integrations.builtin.erp import BuiltinErp
from tests.support.orders import add_order, receipt, state, work
from tests.support.stock import prepare
from tests.support.work import rows

WORKFLOW = "goods_receipt"


def there(engine: Engine) -> dict[str, Any]:
    return {key: row["quantity"] for key, row in BuiltinErp(engine).read("stock", ["MAIN", "COLD"]).items()}


def test_boxes_are_pieces_in_stock_and_what_goes_back_leaves_it(engine: Engine) -> None:
    prepare(engine)
    order = add_order(engine, {"unit": "box"}, {"item": "NEW-1", "unit": "pcs"})
    receipt(engine, order, {"order_line": 1, "quantity": 3}, {"order_line": 2, "quantity": 5})
    work(engine, WORKFLOW)
    assert there(engine) == {"BOLT-8|MAIN|": "300", "NEW-1|MAIN|": "5"}, "a box of BOLT-8 is a hundred"
    back = receipt(engine, order, {"order_line": 1, "quantity": 1}, kind="return")
    work(engine, WORKFLOW)
    assert state(engine, back) == ("finished", "returned")
    assert there(engine) == {"BOLT-8|MAIN|": "200", "NEW-1|MAIN|": "5"}


def test_what_cannot_be_counted_in_its_base_unit_is_received_and_left_to_a_person(engine: Engine) -> None:
    prepare(engine)
    order = add_order(engine, {"unit": "pallet"}, {"unit": "pcs"})
    case = receipt(engine, order, {"order_line": 1, "quantity": 1}, {"order_line": 2, "quantity": 2})
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "received")
    assert there(engine) == {"BOLT-8|MAIN|": "2"}


def test_services_and_nameless_goods_change_no_stock(engine: Engine) -> None:
    prepare(engine)
    for order in (add_order(engine, category="services"), add_order(engine, {"item": None})):
        receipt(engine, order, {"order_line": 1, "quantity": 1})
    work(engine, WORKFLOW)
    assert there(engine) == {}
    assert rows(engine, "select 1 from erp_documents where document ? 'location'") == []
