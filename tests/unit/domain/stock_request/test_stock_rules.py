"""The matrix asks the right people about stock, kinds move goods the right way, and every fault says what to do."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from include.approvals.forms import FormRefused
from include.approvals.people import people
from include.approvals.policy import Matrix, Routing
from include.approvals.routing import routed
from include.contracts.registry import contract
from include.domain.stock_request.entry import FORM
from include.domain.stock_request.expectations import LINE_RULES, REQUEST_RULES, may_post
from include.domain.stock_request.facts import FILE, facts, matrix, matrix_problems
from include.domain.stock_request.feeds import Feed
from include.domain.stock_request.kinds import decided, kinds
from include.domain.stock_request.reading import Line, Reader
from include.intake.sources import sources
from include.stock.items import Item
from include.stock.warehouse import warehouse

BOLT = Item("BOLT-8", "Bolts", "material", "pcs", units={"box": 100})  # type: ignore[dict-item]
SOLVENT = Item("SOLVENT", "Solvent", "material", "l", decimals=3)


def routing(kind: str, amount: object, requester: str = "lena.hoffmann", **more: Any) -> Routing:
    request: dict[str, Any] = {
        "kind": kind,
        "routed_value": Decimal(str(amount)),
        "requester": requester,
        "entered_by": None,
        "origin": "MAIN",
        "destination": "MAIN",
        "abc": "C",
        "cost_unknown": False,
        "feed": False,
        **more,
    }
    return routed(matrix(), facts(request), requester, request["entered_by"], people())


def seats(kind: str, amount: object, requester: str = "lena.hoffmann", **more: Any) -> list[tuple[str, ...]]:
    return [stage.seats for stage in routing(kind, amount, requester, **more).stages]


def test_the_shipped_matrix_leaves_no_gap_and_somebody_to_ask_for_everybody() -> None:
    assert matrix_problems(matrix(), people()) == []


def test_a_matrix_that_asks_for_a_fact_that_there_is_not_is_named() -> None:
    text = FILE.read_text().replace("kind: supplier_return", "kind: theft").replace("currency: EUR", "currency: USD")
    import yaml

    found = matrix_problems(Matrix.model_validate(yaml.safe_load(text)), people())
    assert any("'theft' is none of its values" in problem for problem in found)
    assert any(problem.startswith("currency") for problem in found)


@pytest.mark.parametrize("kind", ["receipt", "return", "transfer", "transfer_receipt", "issue", "consumption"])
def test_what_is_everyday_is_decided_by_rule(kind: str) -> None:
    assert routing(kind, 100_000).by_rule == "any"


@pytest.mark.parametrize("kind", ["adjustment", "write_off", "count"])
def test_above_a_value_one_person_decides_and_above_a_large_one_two(kind: str) -> None:
    assert routing(kind, "49.99").by_rule
    assert seats(kind, 500) == [("olaf.winter",)], "who is above the keeper"
    (stage,) = routing(kind, 2500).stages
    assert (stage.seats, stage.needed) == (("olaf.winter", "frank.weber"), 2)


def test_nobody_decides_on_their_own_nor_on_what_they_typed_in() -> None:
    assert seats("adjustment", 500, "olaf.winter") == [("sara.neumann",)]
    assert seats("adjustment", 500, entered_by="olaf.winter") == [("sara.neumann",)]
    (both,) = seats("write_off", 9000, "frank.weber", entered_by="olaf.winter")
    assert not {"frank.weber", "olaf.winter"} & set(both)
    assert len(set(both)) == 2


def test_valuable_goods_outsiders_and_unknown_costs_are_asked_about() -> None:
    assert seats("issue", 2000, "olaf.winter", abc="A") == [("lena.hoffmann",)]
    assert routing("issue", 1999, "olaf.winter", abc="A").by_rule == "any"
    assert routing("issue", 2000, "olaf.winter", abc="B").by_rule == "any"
    assert seats("consumption", 1, "anna.schmidt") == [("lena.hoffmann",)]
    assert seats("write_off", 0, cost_unknown=True) == [("olaf.winter",)]


@pytest.mark.parametrize(
    ("kind", "quantity", "way"),
    [
        ("issue", 3, ("MAIN", "CUSTOMER")),
        ("receipt", 3, ("SUPPLIER", "MAIN")),
        ("return", 3, ("CUSTOMER", "MAIN")),
        ("transfer", 3, ("MAIN", "TRANSIT")),
        ("transfer_receipt", 3, ("TRANSIT", "MAIN")),
        ("adjustment", 3, ("ADJUSTMENT", "MAIN")),
        ("adjustment", -3, ("MAIN", "ADJUSTMENT")),
        ("count", -3, ("MAIN", "ADJUSTMENT")),
        ("write_off", 3, ("MAIN", "SCRAP")),
    ],
)
def test_goods_go_where_their_kind_says(kind: str, quantity: int, way: tuple[str, str]) -> None:
    declared = kinds()[kind]
    ends = {
        "issue": ("MAIN", "CUSTOMER"), "receipt": ("SUPPLIER", "MAIN"), "return": ("CUSTOMER", "MAIN"),
        "transfer": ("MAIN", "SHOP"), "transfer_receipt": ("TRANSIT", "MAIN"), "write_off": ("MAIN", "SCRAP"),
    }  # fmt: skip
    assert declared.movement(*ends.get(kind, ("MAIN", "ADJUSTMENT")), Decimal(quantity)) == way


def test_what_is_decided_elsewhere_comes_by_handoff_only() -> None:
    assert decided() <= {name for name, source in sources().items() if source.is_handoff}


def test_users_of_a_location_are_persons_roles_and_departments(monkeypatch: pytest.MonkeyPatch) -> None:
    who = people().by_id
    assert may_post(who["lena.hoffmann"], "MAIN")
    assert not may_post(who["anna.schmidt"], "MAIN")
    assert may_post(who["anna.schmidt"], "CUSTOMER"), "a location that names nobody is everybody's"
    main = warehouse().locations["MAIN"]
    for users in (("person:anna.schmidt",), ("role:none", "department:marketing")):
        monkeypatch.setitem(warehouse().locations, "MAIN", main.model_copy(update={"users": users}))
        assert may_post(who["anna.schmidt"], "MAIN")


def test_every_fault_says_what_to_do_and_is_in_the_contract() -> None:
    rules = [(rule.code, rule.message) for rule in (*LINE_RULES, *REQUEST_RULES)]
    assert len({rule.code for rule in LINE_RULES}) == len(LINE_RULES)
    for code, message in rules:
        assert contract("stock_request").exception(code) is not None, code
        assert message.count(".") > 1 or ":" in message, f"{code} does not say what to do"


def read(*entries: Any, kind: str = "issue", feed: Feed | None = None) -> Iterator[Line]:
    reader = Reader({item.code: item for item in (BOLT, SOLVENT)})
    return reader.read(entries, kinds()[kind], counted=kind == "count", feed=feed)


@pytest.mark.parametrize(
    ("written", "unit", "item", "base"),
    [
        ("3", None, "bolt-8", "3"),
        (3, "BOX", "BOLT-8", "300"),
        ("0.25", "box", "BOLT-8", "25"),
        ("1500", "ml", "SOLVENT", "1.5"),
        (2.0, "pcs", "BOLT-8", "2"),
        ("1", "dozen", "BOLT-8", "12"),
    ],
)
def test_quantities_are_exact_in_base_units(written: object, unit: str | None, item: str, base: str) -> None:
    (line,) = read({"item": item, "quantity": written, "unit": unit})
    assert (line.quantity, line.reason) == (Decimal(base), None)


@pytest.mark.parametrize("entry", [None, 7, "x", [], {"item": {}, "quantity": []}, {"item": True, "quantity": True}])
def test_nothing_that_can_be_sent_stops_the_reading(entry: Any) -> None:
    (line, good) = read(entry, {"item": "BOLT-8", "quantity": 1})
    assert line.reason is not None
    assert (good.line, good.quantity, good.reason) == (2, 1, None)


def test_the_sign_of_a_quantity_is_right_for_its_kind() -> None:
    signs = {kind: next(read({"item": "BOLT-8", "quantity": -1}, kind=kind)).reason for kind in kinds()}
    assert {kind for kind, reason in signs.items() if reason is None} == {"adjustment"}
    (zero,) = read({"item": "BOLT-8", "quantity": 0}, kind="count")
    assert (zero.counted, zero.quantity, zero.reason) == (0, None, None)


def test_a_feed_takes_each_row_once_and_leaves_out_what_is_no_goods() -> None:
    row = {"item": "BOLT-8", "quantity": 2}
    taken_as = Feed(title="x", location="SHOP", duplicates="reject", negative="adjustment", not_stocked=["POST"])
    found = [
        (line.quantity, line.verdict, line.reason)
        for line in read(row, row, {"item": "post", "quantity": 1}, {"item": "BOLT-8", "quantity": -2}, feed=taken_as)
    ]
    assert found == [
        (2, None, None), (2, "rejected", "line.duplicate"), (None, "rejected", "item.not_stocked"),
        (None, None, "quantity.negative"),
    ]  # fmt: skip


def test_a_form_is_its_accounts_request() -> None:
    form = {"kind": "issue", "from": "MAIN", "to": None, "item": " BOLT-8 ", "quantity": "2", "unit": "", "reason": " "}
    assert FORM.document(form, "lena.hoffmann", "run-1") == {
        "id": "run-1",
        "requester": "lena.hoffmann",
        "entered_by": "lena.hoffmann",
        "kind": "issue",
        "from": "MAIN",
        "lines": [{"item": "BOLT-8", "quantity": "2"}],
    }
    assert FORM.document({**form, "requester": "olaf.winter"}, "admin", "r")["entered_by"] == "admin"
    with pytest.raises(FormRefused, match="choose the requester"):
        FORM.document(form, "admin", "r")
    with pytest.raises(FormRefused, match="nothing to move"):
        FORM.document({"kind": "issue", "unit": "box"}, "lena.hoffmann", "r")
