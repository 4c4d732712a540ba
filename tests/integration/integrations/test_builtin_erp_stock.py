"""Stock in the built-in `erp`: what moved, once, whatever is sent again and however many bring it at once."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from include.integrations.builtin.erp import BuiltinErp
from include.integrations.systems import Failed, Outcome, PendingEffect, Sent
from tests.support.work import rows

_numbers = itertools.count(1)

KINDS = {"MAIN": "internal", "COLD": "internal", "TRANSIT": "transit", "SUPPLIER": "supplier", "CUSTOMER": "customer",
         "ADJUSTMENT": "adjustment"}  # fmt: skip


def effect(operation: str, **payload: Any) -> PendingEffect:
    number = next(_numbers)
    return PendingEffect(number, f"w/{number}/s/{operation}/t", operation, "t", payload, 1)


def line(item: str, source: str, destination: str, quantity: str, lot: str = "", **fields: Any) -> dict[str, Any]:
    return {
        "item": item, "title": f"The {item}", "unit": "pcs", "tracking": "lot" if lot else "none", "lot": lot,
        "from": {"code": source, "kind": KINDS[source]}, "to": {"code": destination, "kind": KINDS[destination]},
        "quantity": quantity, "unit_cost": "2.50",
    } | fields  # fmt: skip


def moved(key: str, *lines: dict[str, Any], **fields: Any) -> PendingEffect:
    given = {"key": key, "kind": "transfer", "moved_on": "2026-11-20", "reference": "SR-1", "lines": list(lines)}
    return effect("move_stock", **(given | fields))


@pytest.fixture
def erp(engine: Engine) -> BuiltinErp:
    return BuiltinErp(engine)


def apply(erp: BuiltinErp, *effects: PendingEffect) -> list[Outcome]:
    return [erp.apply(one.operation, [one])[0] for one in effects]


def all_sent(outcomes: Sequence[object]) -> bool:
    return all(isinstance(outcome, Sent) for outcome in outcomes)


def there(erp: BuiltinErp, *locations: str) -> dict[str, str]:
    found = erp.read("stock", locations or ["MAIN", "COLD", "TRANSIT"])
    for key, record in found.items():
        assert key == f"{record['item']}|{record['location']}|{record['lot']}"
    return {key: record["quantity"] for key, record in found.items()}


def test_what_moves_between_real_places_is_counted_and_sent_again_changes_nothing(
    erp: BuiltinErp, engine: Engine
) -> None:
    effects = [
        moved("SM-1", line("BOLT", "SUPPLIER", "MAIN", "100"), line("MILK", "SUPPLIER", "COLD", "7.5", "L1"),
              kind="receipt"),
        moved("SM-2", line("BOLT", "MAIN", "TRANSIT", "40")),
        moved("SM-3", line("BOLT", "TRANSIT", "COLD", "39.250")),
        moved("SM-4", line("BOLT", "MAIN", "CUSTOMER", "10"), line("MILK", "COLD", "ADJUSTMENT", "0.5", "L1")),
    ]  # fmt: skip
    first = apply(erp, *effects)
    assert all_sent(first), first
    expected = {"BOLT|COLD|": "39.25", "BOLT|MAIN|": "50", "BOLT|TRANSIT|": "0.75", "MILK|COLD|L1": "7"}
    assert there(erp) == expected
    assert apply(erp, *effects) == first
    assert erp.apply("move_stock", [*effects, *effects]) == first * 2
    assert there(erp) == expected
    assert there(erp, "COLD") == {"BOLT|COLD|": "39.25", "MILK|COLD|L1": "7"}
    assert there(erp, "NOWHERE") == {}
    apply(erp, moved("SM-5", line("BOLT", "TRANSIT", "ADJUSTMENT", "0.75")))
    assert "BOLT|TRANSIT|" not in there(erp), "nought is nothing"
    assert len(rows(engine, "select * from erp_stock_documents")) == 5


def test_the_erp_books_what_happened_below_zero_too(erp: BuiltinErp) -> None:
    assert all_sent(apply(erp, moved("SM-1", line("BOLT", "MAIN", "CUSTOMER", "3"))))
    assert there(erp) == {"BOLT|MAIN|": "-3"}


def test_a_product_is_known_by_what_was_said_of_it_and_by_its_first_movement(erp: BuiltinErp) -> None:
    product = {"title": "Bolt", "unit": "pcs", "group": "parts", "tracking": "none", "standard_cost": "0.10"}
    apply(
        erp,
        effect("upsert_product", key="BOLT", **product, active=True),
        effect("upsert_product", key="BOLT", title=None, active=False),
        moved("SM-1", line("BOLT", "SUPPLIER", "MAIN", "1"), line("NUT", "SUPPLIER", "MAIN", "1")),
    )
    assert erp.read("product", ["BOLT", "NUT", "NOTHING"]) == {
        "BOLT": product | {"active": False},
        "NUT": {"title": "The NUT", "unit": "pcs", "group": None, "tracking": "none", "standard_cost": None,
                "active": True},
    }  # fmt: skip


def test_what_cannot_be_is_refused_for_good_and_moves_nothing(erp: BuiltinErp, engine: Engine) -> None:
    good = line("BOLT", "SUPPLIER", "MAIN", "1")
    refused = [
        moved("SM-1"),
        moved("SM-2", good, line("BOLT", "SUPPLIER", "MAIN", "0")),
        moved("SM-3", good, line("BOLT", "SUPPLIER", "MAIN", "-1")),
        moved("SM-4", good, line("BOLT", "MAIN", "MAIN", "1")),
        moved("SM-5", good, line("BOLT", "SUPPLIER", "MAIN", "many")),
        moved("SM-6", good, line("", "SUPPLIER", "MAIN", "1")),
        moved("SM-7", good, moved_on="yesterday"),
        effect("move_stock", key="SM-8"),
    ]
    outcomes = erp.apply("move_stock", [moved("SM-0", good), *refused])
    assert isinstance(outcomes[0], Sent), "one bad effect harms no other"
    assert all(isinstance(outcome, Failed) and outcome.permanent and outcome.error for outcome in outcomes[1:])
    assert there(erp) == {"BOLT|MAIN|": "1"}
    assert len(rows(engine, "select * from erp_stock_documents")) == 1


def test_goods_of_an_order_are_stock_where_they_were_put(erp: BuiltinErp) -> None:
    lines = [{"line": n, "description": f"Thing {n}", "quantity": "10", "unit_price": "2.50"} for n in (1, 2)]
    apply(
        erp,
        effect("upsert_supplier", key="acme", name="Acme"),
        effect("create_purchase_order", key="PO-1", supplier="acme", lines=lines),
    )
    boxes = {"order_line": 1, "quantity": "2", "item": "BOLT", "stock_quantity": "200"}
    service = {"order_line": 2, "quantity": "1"}
    came = {"order": "PO-1", "received_on": "2026-11-20", "location": "MAIN"}
    receipt = effect("receive_goods", key="GR-1", lines=[boxes, service], **came)
    back = effect("return_goods", key="RT-1", lines=[{**boxes, "quantity": "1", "stock_quantity": "100"}], **came)
    elsewhere = effect("receive_goods", key="GR-2", lines=[service], order="PO-1", received_on="2026-11-20")
    for _ in range(2):
        assert all_sent(apply(erp, receipt, elsewhere))
        assert all_sent(erp.apply("receive_goods", [receipt, receipt]))
    assert there(erp) == {"BOLT|MAIN|": "200"}
    assert all_sent(apply(erp, back, back))
    assert there(erp) == {"BOLT|MAIN|": "100"}


def test_five_thousand_requests_of_a_hundred_thousand_lines_take_seconds(erp: BuiltinErp) -> None:
    dice = random.Random(4)
    items = [f"ITEM-{n}" for n in range(2_000)]
    effects = [
        moved(f"SM-{n}", *(line(dice.choice(items), "SUPPLIER", "MAIN", str(dice.randint(1, 9))) for _ in range(20)))
        for n in range(5_000)
    ]
    expected = sum(Decimal(each["quantity"]) for one in effects for each in one.payload["lines"])
    began = time.perf_counter()
    for start in range(0, len(effects), erp.batch_size):
        assert all_sent(erp.apply("move_stock", effects[start : start + erp.batch_size]))
    took = time.perf_counter() - began
    assert sum(map(Decimal, there(erp).values())) == expected
    assert took < 20, f"{took:.1f} s"
    print(f"{len(effects)} effects, 100,000 lines: {took:.1f} s")


def test_many_at_once_neither_lock_each_other_out_nor_move_twice(erp: BuiltinErp) -> None:
    """Six threads bring the same effects in different orders, over the same few items."""
    items = ["A", "B", "C", "D"]
    dice = random.Random(7)
    effects = [
        moved(f"SM-{n}", *(line(item, *dice.choice((("MAIN", "COLD"), ("COLD", "MAIN"))), "1") for item in items))
        for n in range(60)
    ]
    outcomes: list[Outcome] = []
    lock = threading.Lock()

    def bring(seed: int) -> None:
        mine = random.Random(seed).sample(effects, len(effects))
        for start in range(0, len(mine), 10):
            found = erp.apply("move_stock", mine[start : start + 10])
            with lock:
                outcomes.extend(found)

    threads = [threading.Thread(target=bring, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 360
    assert all_sent(outcomes), [outcome for outcome in outcomes if not isinstance(outcome, Sent)][:3]
    net = dict.fromkeys(items, 0)
    for one in effects:
        for each in one.payload["lines"]:
            net[each["item"]] += 1 if each["to"]["code"] == "MAIN" else -1
    expected = {f"{item}|MAIN|": str(n) for item, n in net.items() if n}
    expected |= {f"{item}|COLD|": str(-n) for item, n in net.items() if n}
    assert there(erp) == expected
