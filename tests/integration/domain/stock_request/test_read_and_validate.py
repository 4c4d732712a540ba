"""What a request says is read exactly, and what cannot be posted is set aside with a reason that says what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support.stock import lines, of, prepare, reasons, release, request, state, stock, work
from tests.support.work import assert_balanced, change, rows


@pytest.fixture
def desk(engine: Engine) -> Engine:
    prepare(engine)
    stock(engine, "FLOUR", 10, lot="L1", expires_on="2096-12-31")
    stock(engine, "FLOUR", 10, lot="L0", expires_on="2026-02-01")
    stock(engine, "SAW", 1, lot="S-1")
    return engine


def read(engine: Engine, kind: str | None, *entries: dict[str, Any], **more: Any) -> int:
    """Receive a request and check it."""
    case = request(engine, kind, *entries, **more)
    work(engine, until="validate")
    return case


def test_fields_and_lines_in_one_form(desk: Engine) -> None:
    case = read(
        desk,
        "Write-off",
        {"sku": " bolt-8 ", "qty": "2", "uom": "Box", "remark": "rusty"},
        {"item": "SOLVENT", "quantity": 1.25},
        requester="LENA.HOFFMANN@nordlicht.example",
        entered_by="olaf.winter",
        location="main",
        occurred_at="2026-11-20T10:30",
    )
    assert state(desk, case)[0] == "running"
    head = of(desk, case)
    assert (head["number"], head["kind"], head["requester"], head["entered_by"]) == (
        f"ST-{case}", "write_off", "lena.hoffmann", "olaf.winter",
    )  # fmt: skip
    assert (head["origin"], head["destination"], head["feed"]) == ("MAIN", "SCRAP", False)
    assert head["occurred_at"] == datetime(2026, 11, 20, 9, 30, tzinfo=UTC), "it is meant as the warehouse's clocks say"
    first, second = lines(desk, case)
    assert (first["item"], first["sent_quantity"], first["unit"], first["quantity"], first["note"]) == (
        "BOLT-8", 2, "Box", 200, "rusty",
    )  # fmt: skip
    assert second["quantity"] == Decimal("1.25")


def test_the_end_that_is_not_ours_need_not_be_named(desk: Engine) -> None:
    ends = {
        "receipt": ("SUPPLIER", "MAIN"),
        "issue": ("MAIN", "CUSTOMER"),
        "consumption": ("MAIN", "CONSUMPTION"),
        "return": ("CUSTOMER", "MAIN"),
        "supplier_return": ("MAIN", "SUPPLIER"),
        "adjustment": ("MAIN", "ADJUSTMENT"),
        "write_off": ("MAIN", "SCRAP"),
    }
    cases = {kind: request(desk, kind) for kind in ends}
    work(desk, until="validate")
    found = {kind: of(desk, case, "origin, destination") for kind, case in cases.items()}
    assert {kind: (row["origin"], row["destination"]) for kind, row in found.items()} == ends
    assert {state(desk, case)[0] for case in cases.values()} == {"running"}


FAULTY_LINES: list[tuple[dict[str, Any], str]] = [
    ({"item": "NOPE", "quantity": 1}, "item.unknown"),
    ({"item": "OLD-1", "quantity": 1}, "item.inactive"),
    ({"quantity": 1}, "item.missing"),
    ({"item": "BOLT-8", "quantity": 1, "unit": "kg"}, "unit.unknown"),
    ({"item": "SOLVENT", "quantity": "0.5", "unit": "ml"}, "unit.inexact"),
    ({"item": "BOLT-8"}, "quantity.missing"),
    ({"item": "BOLT-8", "quantity": "ten"}, "quantity.unreadable"),
    ({"item": "BOLT-8", "quantity": "1.5"}, "quantity.decimals"),
    ({"item": "BOLT-8", "quantity": "9" * 13}, "quantity.too_large"),
    ({"item": "BOLT-8", "quantity": 0}, "quantity.zero"),
    ({"item": "BOLT-8", "quantity": -1}, "quantity.negative"),
    ({"item": "BOLT-8", "quantity": 1, "lot": "X"}, "lot.unwanted"),
    ({"item": "FLOUR", "quantity": 1, "lot": "L9"}, "lot.unknown"),
    ({"item": "FLOUR", "quantity": 1, "lot": "L0"}, "lot.expired"),
    ({"item": "FLOUR", "quantity": 1, "lot": "L1", "expires_on": "2097-01-01"}, "lot.expires_on"),
    ({"item": "SAW", "quantity": 1}, "lot.serial"),
    ({"item": "SAW", "quantity": 2, "lot": "S-1"}, "lot.quantity"),
    ({"item": "BOLT-8", "quantity": 1, "occurred_at": "yesterday"}, "occurred_at.unreadable"),
    ({"item": "BOLT-8", "quantity": 1, "occurred_at": "2199-01-01"}, "occurred_at.future"),
    ({"item": "BOLT-8", "quantity": 1, "unit_cost": "-1"}, "unit_cost.negative"),
]


def test_a_faulty_line_sets_the_whole_request_aside_and_says_where_and_what_to_do(desk: Engine) -> None:
    cases = [request(desk, "issue", {"item": "BOLT-8", "quantity": 1}, entry) for entry, _ in FAULTY_LINES]
    good = request(desk, "issue")
    work(desk, until="validate")
    assert {case: reasons(desk, case) for case in cases} == {
        case: [code] for case, (_, code) in zip(cases, FAULTY_LINES, strict=True)
    }
    assert state(desk, good)[0] == "running"
    for row in rows(desk, "select reasons from cases where state = 'quarantined'"):
        (reason,) = row["reasons"]
        assert reason["message"].startswith("Line 2")
        assert "{" not in reason["message"]
        assert reason["field"] == "lines"


FAULTY: list[tuple[str | None, dict[str, Any], str]] = [
    (None, {}, "mapping.missing"),
    ("theft", {}, "kind.unknown"),
    ("issue", {"location": None}, "location.missing"),
    ("issue", {"location": "NOWHERE"}, "location.unknown"),
    ("issue", {"location": "SUPPLIER"}, "location.unfit"),
    ("receipt", {"location": None, "from_location": "MAIN", "to_location": "COLD"}, "location.unfit"),
    ("transfer", {"location": "MAIN"}, "location.same"),
    ("issue", {"requester": None}, "requester.missing"),
    ("issue", {"requester": "nobody.knows"}, "requester.unknown"),
    ("issue", {"requester": "admin"}, "requester.shared"),
    ("issue", {"requester": "anna.schmidt"}, "requester.no_user"),
    ("write_off", {"reason": None}, "reason.missing"),
    ("issue", {"occurred_at": "soon"}, "occurred_at.unreadable"),
    ("issue", {"lines": []}, "mapping.missing"),
    ("transfer_receipt", {}, "transfer.missing"),
    ("transfer_receipt", {"reference": "ST-0"}, "transfer.unknown"),
]


def test_a_faulty_request_is_set_aside(desk: Engine) -> None:
    cases = [request(desk, kind, **more) for kind, more, _ in FAULTY]
    work(desk, until="validate")
    for case, (kind, more, code) in zip(cases, FAULTY, strict=True):
        assert code in reasons(desk, case), (kind, more)
    assert_balanced(desk)


def test_lots_are_chosen_later_for_what_is_taken_and_named_for_what_comes(desk: Engine) -> None:
    takes = read(desk, "issue", {"item": "FLOUR", "quantity": 1})
    comes = read(desk, "receipt", {"item": "FLOUR", "quantity": 1})
    new = read(desk, "receipt", {"item": "FLOUR", "quantity": 1, "lot": "L7", "expires_on": "2097-05-01"})
    waste = read(desk, "write_off", {"item": "FLOUR", "quantity": 1, "lot": "L0"})
    assert state(desk, takes)[0] == state(desk, new)[0] == state(desk, waste)[0] == "running"
    assert reasons(desk, comes) == ["lot.missing"]


def test_a_lot_of_what_expires_comes_with_its_last_day_once(desk: Engine) -> None:
    undated, dated = (
        {"item": "CREAM", "quantity": 1, "lot": "C1"} | more for more in ({}, {"expires_on": "2097-05-01"})
    )
    assert reasons(desk, read(desk, "receipt", undated)) == ["lot.undated"]
    assert reasons(desk, read(desk, "receipt", {**undated, "expires_on": "soon"})) == ["lot.expires_on"]
    assert reasons(desk, read(desk, "receipt", dated)) == []
    stock(desk, "CREAM", 1, lot="C1", expires_on="2097-05-01")
    assert reasons(desk, read(desk, "receipt", undated)) == []


def test_the_same_serial_number_is_one_piece(desk: Engine) -> None:
    case = read(desk, "issue", *[{"item": "SAW", "quantity": 1, "lot": "S-1"}] * 2)
    assert reasons(desk, case) == ["lot.twice"]


PLACED: list[tuple[dict[str, Any], str, str | None]] = [
    ({"item": "SOLVENT", "quantity": 1}, "MAIN", None),
    ({"item": "SOLVENT", "quantity": 1}, "COLD", "place.hazard"),
    ({"item": "VACCINE", "quantity": 2}, "COLD", None),
    ({"item": "VACCINE", "quantity": 2}, "MAIN", "place.temperature"),
    ({"item": "VACCINE", "quantity": 81}, "COLD", "place.capacity"),
    ({"item": "BOLT-8", "quantity": 5000, "unit_cost": "6"}, "MAIN", "unit_cost.unlikely"),
]


def test_a_location_holds_what_it_may(desk: Engine) -> None:
    cases = [request(desk, "receipt", entry, location=place) for entry, place, _ in PLACED]
    work(desk, until="validate")
    found = [reasons(desk, case) for case in cases]
    assert found == [[code] if code else [] for _, _, code in PLACED]


def test_what_is_there_takes_room(desk: Engine) -> None:
    stock(desk, "VACCINE", 79, "COLD")
    assert reasons(desk, read(desk, "receipt", {"item": "VACCINE", "quantity": 1}, location="COLD")) == []
    assert reasons(desk, read(desk, "receipt", {"item": "VACCINE", "quantity": 2}, location="COLD")) == [
        "place.capacity"
    ]


def test_a_closed_period_and_the_clocks_of_others(desk: Engine) -> None:
    change(desk, "update stock_closing set closed_until = '2026-11-01T00:00:00+01:00'")
    late = read(desk, "issue", occurred_at="2026-10-31T23:59:00+01:00")
    soon = read(desk, "issue", occurred_at=(datetime.now(UTC) + timedelta(minutes=5)).isoformat())
    assert reasons(desk, late) == ["occurred_at.closed"]
    assert state(desk, soon)[0] == "running"


def test_each_fault_is_one_reason_and_the_others_go_on(desk: Engine) -> None:
    bad = request(
        desk,
        "issue",
        {"item": "NOPE", "quantity": 1},
        {"item": "NOPE-2", "quantity": "x"},
        {"item": "BOLT-8", "quantity": 0},
        requester="nobody.knows",
    )
    good = request(desk, "issue")
    work(desk, until="validate")
    assert sorted(reasons(desk, bad)) == ["item.unknown", "quantity.unreadable", "quantity.zero", "requester.unknown"]
    assert state(desk, good)[0] == "running"


def test_a_number_is_one_request(desk: Engine) -> None:
    first, again = request(desk, "issue", number="W-1"), request(desk, "issue", number="W-1")
    work(desk, until="validate")
    later, ours = read(desk, "issue", number="W-1"), read(desk, "issue", number="ST-1")
    assert of(desk, first)["number"] == "W-1"
    assert reasons(desk, again) == reasons(desk, later) == reasons(desk, ours) == ["request.number"]


def test_what_a_person_corrects_counts_and_is_theirs(desk: Engine) -> None:
    case = read(desk, "adjustment", {"item": "NOPE", "quantity": -1})
    release(desk, case, actor="user:olaf.winter", lines=[{"item": "BOLT-8", "quantity": -1.0, "unit": "box"}])
    work(desk, until="validate")
    assert lines(desk, case, "item, quantity") == [{"item": "BOLT-8", "quantity": -100}]
    assert of(desk, case, "requester, entered_by") == {"requester": "lena.hoffmann", "entered_by": "olaf.winter"}


def test_what_is_posted_is_not_read_again(desk: Engine) -> None:
    case = read(desk, "issue")
    change(desk, "update stock_requests set posted_at = now(), approved_by = 'rule:any' where case_id = :id", id=case)
    change(desk, "update stock_request_lines set posted = 5, verdict = 'posted' where case_id = :id", id=case)
    change(
        desk,
        """update cases set state = 'quarantined', claim_id = null, reasons = '[{"code": "error.log", "message": "x"}]'
           where id = :id""",
        id=case,
    )
    release(desk, case, lines=[{"item": "BOLT-8", "quantity": 99}])
    work(desk, until="approve")
    assert lines(desk, case, "sent_quantity, verdict") == [{"sent_quantity": 5, "verdict": "posted"}]
    assert of(desk, case, "approved_by")["approved_by"] == "rule:any"
    assert state(desk, case)[:2] == ("running", "post")


def test_a_count_is_compared_with_the_stock_of_its_moment(desk: Engine) -> None:
    stock(desk, "BOLT-8", 10, at=datetime(2026, 3, 1, tzinfo=UTC))
    stock(desk, "BOLT-8", 5, at=datetime(2026, 5, 1, tzinfo=UTC))
    case = read(
        desk,
        "count",
        {"item": "BOLT-8", "counted": 8},
        {"item": "LAMP", "counted": 0},
        occurred_at="2026-04-01T12:00:00Z",
    )
    assert lines(desk, case, "counted, expected, quantity") == [
        {"counted": 8, "expected": 10, "quantity": -2},
        {"counted": 0, "expected": 0, "quantity": 0},
    ]
    assert state(desk, case)[0] == "running"
