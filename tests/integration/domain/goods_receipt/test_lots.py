"""What the stock tells apart by lots or serial numbers is received with them, and comes into stock with them."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from sqlalchemy import Engine

from include.intake.imports import import_rows
from include.integrations.builtin.erp import BuiltinErp
from tests.support.orders import Order, add_order, counts, reasons, receipt, release, state, work
from tests.support.stock import on_hand, prepare
from tests.support.stock import work as work_requests
from tests.support.work import assert_balanced, rows

WORKFLOW = "goods_receipt"


@pytest.fixture
def order(engine: Engine) -> Order:
    """Ten litres of cream, which has lots that expire; flour, whose lots need not; saws, which have numbers; bolts."""
    prepare(engine)
    saws = {"item": "SAW", "quantity": 2, "unit_price": "250"}
    goods = ({"item": "CREAM", "unit": "l"}, {"item": "flour", "unit": "kg"}, saws)
    return add_order(engine, *({"unit_price": "4", **line} for line in goods), {})


def cream(quantity: Any = 10, **more: Any) -> dict[str, Any]:
    return {"order_line": 1, "quantity": quantity, "lot": "C1", "expires_on": "2097-03-01", **more}


def test_lots_and_numbers_come_into_stock_and_into_the_erp(engine: Engine, order: Order) -> None:
    case = receipt(
        engine,
        order,
        cream(4),
        cream(1),
        cream(2, lot="C2", expires_on="2097-04-01"),
        {"order_line": 2, "quantity": 3, "lot": "F1"},
        {"order_line": 2, "quantity": 1, "condition": "damaged"},
        {"order_line": 3, "quantity": 1, "lot": "S-1"},
        {"order_line": 3, "quantity": 1, "lot": "S-2"},
        {"order_line": 4, "quantity": 5, "lot": "of the supplier's own"},
    )
    work(engine, WORKFLOW)
    assert state(engine, case) == ("finished", "received")
    work_requests(engine)
    assert rows(engine, "select outcome from cases where workflow = 'stock_request'") == [{"outcome": "posted"}]
    there = {("CREAM", "C1"): 5, ("CREAM", "C2"): 2, ("FLOUR", "F1"): 3, ("SAW", "S-1"): 1, ("BOLT-8", ""): 5}
    assert {place: on_hand(engine, place[0], lot=place[1]) for place in there} == there
    assert rows(engine, "select lot, expires_on from stock_lots where item = 'CREAM' order by lot") == [
        {"lot": "C1", "expires_on": date(2097, 3, 1)}, {"lot": "C2", "expires_on": date(2097, 4, 1)},
    ]  # fmt: skip
    erp = BuiltinErp(engine).read("stock", ["MAIN"])
    assert {key: erp[key]["quantity"] for key in ("CREAM|MAIN|C1", "SAW|MAIN|S-2", "BOLT-8|MAIN|")} == {
        "CREAM|MAIN|C1": "5", "SAW|MAIN|S-2": "1", "BOLT-8|MAIN|": "5",
    }  # fmt: skip
    assert_balanced(engine)


LACKING: list[tuple[dict[str, Any], str]] = [
    (cream(lot=None), "line.lot"),
    (cream(expires_on=None), "line.expires_on"),
    (cream(expires_on="next week"), "line.expires_on"),
    ({"order_line": 2, "quantity": 1}, "line.lot"),
    ({"order_line": 3, "quantity": 1}, "line.lot"),
    ({"order_line": 3, "quantity": 2, "lot": "S-1"}, "line.lot"),
]


def test_what_lacks_its_lot_counts_nothing_until_it_is_added(engine: Engine, order: Order) -> None:
    cases = [receipt(engine, order, line) for line, _ in LACKING]
    twice = receipt(engine, order, *[{"order_line": 3, "quantity": 1, "lot": "S-1"}] * 2)
    work(engine, WORKFLOW)
    assert [reasons(engine, case) for case in (*cases, twice)] == [[code] for _, code in LACKING] + [["line.lot"]]
    (told,) = rows(engine, "select reasons from cases where id = :id", id=cases[0])
    assert told["reasons"][0]["field"] == "lines"
    assert "Line 1: CREAM is told apart by lots, and none is named" in told["reasons"][0]["message"]
    assert counts(engine, order)[0] == 0
    release(engine, cases[0], lines=[cream()])
    work(engine, WORKFLOW)
    assert (state(engine, cases[0]), counts(engine, order)[0]) == (("finished", "received"), 10)


def test_a_lot_keeps_its_day_and_a_return_names_its_lot(engine: Engine, order: Order) -> None:
    receipt(engine, order, cream(4))
    work(engine, WORKFLOW)
    work_requests(engine)
    again = receipt(engine, order, cream(1, expires_on=None))
    other = receipt(engine, order, cream(1, expires_on="2097-03-02"))
    back = receipt(engine, order, {"order_line": 1, "quantity": 2, "lot": "C1"}, kind="return")
    nameless = receipt(engine, order, {"order_line": 1, "quantity": 2}, kind="return")
    work(engine, WORKFLOW)
    assert (state(engine, again), reasons(engine, other)) == (("finished", "received"), ["line.expires_on"])
    assert (state(engine, back), reasons(engine, nameless)) == (("finished", "returned"), ["line.lot"])
    work_requests(engine)
    assert on_hand(engine, "CREAM", lot="C1") == 3


def test_a_row_of_a_file_names_its_lot(engine: Engine, order: Order) -> None:
    text = f"order,order_line,quantity,batch,best_before\n{order.number},1,10,C9,2097-05-01\n"
    assert import_rows(engine, "receipt-import", text, "user:lena.hoffmann").new == 1
    work(engine, WORKFLOW)
    assert rows(engine, "select lot, expires_on, accepted from goods_receipt_lines") == [
        {"lot": "C9", "expires_on": date(2097, 5, 1), "accepted": 10}
    ]
