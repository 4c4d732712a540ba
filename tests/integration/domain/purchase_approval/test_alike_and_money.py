"""The same request twice, purchases split over several, and money that two requests want at once."""

from __future__ import annotations

from decimal import Decimal

import pytest
from sqlalchemy import Engine, text

from include.approvals import rounds
from include.cases import store
from include.domain.budgets import differences
from tests.support.leads import at_once
from tests.support.purchases import (
    add,
    answer,
    approved,
    case,
    claim,
    codes,
    count,
    of,
    prepare,
    request,
    run,
    take,
    wake,
)
from tests.support.work import assert_balanced, change, rows

REFUSED_MAIL = """
    update cases set state = 'quarantined', stage = 'send_order',
                     reasons = '[{"code": "effect.mail", "message": "m"}]'"""


@pytest.fixture(autouse=True)
def _prepared(engine: Engine) -> None:
    prepare(engine)


def test_the_same_request_twice_is_flagged_and_goes_on(engine: Engine) -> None:
    a, b, c, d = add(
        engine,
        request(),
        request(justification="other words"),
        request(quantity="3"),
        request(requested_at="2026-09-01"),
    )
    run(engine, until="validate")
    assert [of(engine, each)["duplicate_of"] for each in (a, b, c, d)] == [None, a, None, None]
    assert case(engine, b)[:2] == ("running", "check_budget")
    assert rows(engine, "select case_id, detail from events where kind = 'duplicate.possible'") == [
        {"case_id": b, "detail": {"of": a}}
    ]


def test_a_request_that_was_refused_is_no_earlier_one(engine: Engine) -> None:
    (a,) = add(engine, request("600"))
    run(engine)
    answer(engine, a, "maria.keller", "reject")
    run(engine)
    (b,) = add(engine, request("600"))
    run(engine)
    found = of(engine, b)
    assert (found["duplicate_of"], found["split_with"]) == (None, [])


def test_a_purchase_split_under_a_threshold_is_routed_by_its_sum(engine: Engine) -> None:
    a, b = add(engine, request("240", "1"), request("230", "1"))
    run(engine)
    assert of(engine, a)["approved_by"] == "rule:small"
    found = of(engine, b)
    assert (found["split_with"], found["routed_amount"], found["amount"]) == ([a], Decimal(470), Decimal(230))
    assert case(engine, b) == ("waiting", "approve", None)
    with engine.connect() as connection:
        assert rounds.latest(connection, [b])[b].waits_for == ["maria.keller"]
        shown = dict(connection.execute(text("select shown from approval_rounds")).scalar_one())
    assert shown["Part of a split purchase"] == f"with PR-{a}; together 470.00 EUR"


@pytest.mark.parametrize(
    "other",
    [
        {"supplier": "S-200"},
        {"requester": "lena.hoffmann", "cost_centre": "6300", "category": "tools"},
        {"requested_at": "2026-11-01"},
    ],
)
def test_other_suppliers_other_people_and_other_weeks_are_no_split(engine: Engine, other: dict[str, str]) -> None:
    _, b = add(engine, request("240", "1"), request("230", "1", **other))
    run(engine, until="validate")
    assert of(engine, b)["split_with"] == []


def test_another_requester_of_the_same_cost_centre_completes_the_sum(engine: Engine) -> None:
    a, b = add(engine, request("240", "1"), request("230", "1", requester="maria.keller"))
    run(engine, until="validate")
    assert of(engine, b)["split_with"] == [a]


def test_small_requests_whose_sum_goes_to_nobody_else_are_no_split(engine: Engine) -> None:
    _, b = add(engine, request("100", "1"), request("90", "1"))
    run(engine, until="validate")
    assert of(engine, b)["split_with"] == []


def test_beyond_the_budget_finance_is_asked_too_and_the_money_is_committed_all_the_same(engine: Engine) -> None:
    change(engine, "update budgets set amount = 1000 where category = 'office'")
    (a,) = add(engine, request("600"))
    run(engine)
    assert of(engine, a)["over_budget"] is True
    approved(engine, a)
    assert [row["person"] for row in rows(engine, "select person from approval_decisions order by id")] == [
        "maria.keller",
        "frank.weber",
    ]
    run(engine)
    assert case(engine, a)[:2] == ("waiting", "receive")
    assert rows(engine, "select committed, over from budget_entries") == [{"committed": Decimal(1200), "over": True}]


def test_money_that_is_gone_when_it_is_committed_is_asked_for_anew(engine: Engine) -> None:
    change(engine, "update budgets set amount = 1500 where category = 'office'")
    a, b = add(engine, request("600"), request("500", supplier="S-200"))
    run(engine)
    for each in (a, b):
        answer(engine, each, "maria.keller")
    run(engine)
    assert case(engine, a)[:2] == ("waiting", "receive")
    assert case(engine, b)[:2] == ("pending", "route")
    run(engine)
    assert case(engine, b) == ("waiting", "approve", None)
    with engine.connect() as connection:
        standing = rounds.latest(connection, [b])[b]
        assert (standing.number, standing.state) == (2, "open")
    answer(engine, b, "maria.keller")
    answer(engine, b, "frank.weber")
    run(engine)
    assert case(engine, b)[:2] == ("waiting", "receive")
    with engine.connect() as connection:
        assert differences(connection) == []


def test_two_runs_at_once_cannot_commit_the_same_money(engine: Engine) -> None:
    change(engine, "update budgets set amount = 250 where category = 'office'")
    positions = {}
    for price, supplier in (("200", "S-100"), ("180", "S-200")):
        (each,) = add(engine, request(price, "1", supplier=supplier))
        positions[each] = claim(engine)
        for step in ("read_request", "look_up_supplier", "validate", "check_budget", "route", "approve"):
            take(engine, positions[each], step)
    assert {case(engine, each)[1] for each in positions} == {"commit"}
    at_once([[each] for each in positions], lambda ids: take(engine, positions[ids[0]], "commit"))
    assert sorted(case(engine, each)[1] for each in positions) == ["order", "route"]
    (budget,) = rows(engine, "select committed from budgets where committed > 0")
    assert budget["committed"] in (Decimal(200), Decimal(180))
    assert count(engine, "purchase_orders") == 1


def test_numbers_of_orders_are_given_once_and_without_gaps_also_to_two_runs_at_once(engine: Engine) -> None:
    positions = {}
    for start in (0, 1):
        ids = add(engine, *(request(str(10 + 2 * n + start), "1") for n in range(3)))
        change(
            engine,
            "update cases set available_at = now() + interval '1 hour' where state = 'pending' and not id = any(:ids)",
            ids=ids,
        )
        positions[ids[0]] = (claim(engine), ids)
        for step in ("read_request", "look_up_supplier", "validate", "check_budget", "route", "approve"):
            take(engine, positions[ids[0]][0], step)
    at_once([[first] for first in positions], lambda ids: take(engine, positions[ids[0]][0], "commit"))
    numbers = [row["number"] for row in rows(engine, "select number from purchase_orders order by number")]
    assert [number[-6:] for number in numbers] == [f"{n:06}" for n in range(1, 7)]


def test_looking_again_while_people_decide_changes_nothing(engine: Engine) -> None:
    (a,) = add(engine, request("600"))
    run(engine)
    before = rows(engine, "select id, digest, state from approval_rounds")
    for _ in range(2):
        wake(engine, a)
        run(engine)
    assert rows(engine, "select id, digest, state from approval_rounds") == before
    assert case(engine, a) == ("waiting", "approve", None)


def test_content_that_changed_after_the_approval_is_not_ordered_but_asked_about_again(engine: Engine) -> None:
    (a,) = add(engine, request("600"))
    run(engine)
    answer(engine, a, "maria.keller")
    position = claim(engine)
    take(engine, position, "approve")
    change(engine, "update purchase_lines set quantity = 20")
    take(engine, position, "commit")
    assert case(engine, a)[:2] == ("pending", "route")
    assert count(engine, "purchase_orders") == count(engine, "budget_entries") == 0
    run(engine)
    assert case(engine, a) == ("waiting", "approve", None)
    assert [row["state"] for row in rows(engine, "select state from approval_rounds order by number")] == [
        "approved",
        "open",
    ]


def test_an_order_that_the_erp_has_is_not_changed_by_a_correction(engine: Engine) -> None:
    (a,) = add(engine, request())
    run(engine)
    change(engine, "update purchase_order_lines set received = 1")
    change(engine, REFUSED_MAIL)
    store.release(engine, [a], first_step="capture", actor="user:petra.lang")
    run(engine)
    assert case(engine, a)[:2] == ("waiting", "receive")
    assert rows(engine, "select received from purchase_order_lines") == [{"received": Decimal(1)}], (
        "what came stays counted"
    )
    change(engine, REFUSED_MAIL)
    store.release(engine, [a], first_step="capture", corrections={"supplier": "S-200"}, actor="user:petra.lang")
    run(engine)
    assert codes(engine, a) == ["order.sent"]
    assert count(engine, "effects where operation = 'create_purchase_order'") == 1
    assert_balanced(engine)


def test_whoever_typed_a_request_in_for_another_is_asked_nowhere(engine: Engine) -> None:
    (a,) = add(engine, request("600", entered_by="maria.keller"), source="purchase-form")
    run(engine)
    with engine.connect() as connection:
        assert rounds.latest(connection, [a])[a].waits_for == ["ines.vogt"]
    shown = dict(rows(engine, "select shown from approval_rounds")[0]["shown"])
    assert shown["Entered by"] == "Maria Keller"


def test_an_approval_by_whoever_typed_it_in_does_not_count(engine: Engine) -> None:
    (a,) = add(engine, request("600", entered_by="petra.lang"), source="purchase-form")
    run(engine)
    answer(engine, a, "maria.keller")
    change(engine, "update purchase_requests set entered_by = 'maria.keller'")
    run(engine)
    assert codes(engine, a) == ["approval.entered_by"]
