"""Requests that people type in, and what they may still change about them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from include.approvals import rounds
from include.approvals.decisions import Refused
from include.approvals.forms import FormRefused
from include.domain.purchase_approval import entry, explain
from include.domain.purchase_approval.change import ChangeRefused, change
from tests.support.purchases import (
    LINE,
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
)
from tests.support.work import rows, states

FORM: dict[str, Any] = {
    "description": "Chair",
    "quantity": "2",
    "unit": "piece",
    "unit_price": "300.00",
    "tax_rate": "0.19",
    "more_lines": [{"description": "Mat", "quantity": "1", "unit_price": "10.00", "tax_rate": "0.19"}],
    "cost_centre": "4100",
    "category": "office",
    "supplier": "S-100",
    "currency": "EUR",
    "justification": "  ",
    "requester": None,
}


@pytest.fixture(autouse=True)
def _prepared(engine: Engine) -> None:
    prepare(engine)


def typed(engine: Engine, account: str = "anna.schmidt", form_id: str = "manual__1", **form: Any) -> Any:
    return entry.FORM.submit(engine, {**FORM, **form}, account=account, form_id=form_id, actor=f"user:{account}")


def changed(engine: Engine, case_id: int, account: str = "anna.schmidt", **changes: Any) -> list[str]:
    return change(engine, f"PR-{case_id}", changes, account=account, actor=f"user:{account}")


def test_a_form_becomes_one_delivery_of_the_person_who_typed_it_however_often_it_is_stored(engine: Engine) -> None:
    assert typed(engine).new == 1
    assert typed(engine).repeated == 1
    (case_id,) = states(engine)
    run(engine)
    found = of(engine, case_id)
    assert (found["requester"], found["entered_by"], found["net"]) == ("anna.schmidt", "anna.schmidt", Decimal(610))
    assert rows(engine, "select actor from events order by id limit 1") == [{"actor": "user:anna.schmidt"}]
    assert rows(engine, "select owner from cases") == [{"owner": "maria.keller"}]


def test_a_form_for_somebody_else_keeps_both(engine: Engine) -> None:
    typed(engine, "maria.keller", requester="anna.schmidt")
    (case_id,) = states(engine)
    run(engine)
    found = of(engine, case_id)
    assert (found["requester"], found["entered_by"]) == ("anna.schmidt", "maria.keller")
    assert rows(engine, "select owner from cases") == [{"owner": "ines.vogt"}]


def test_an_account_of_several_people_must_say_who_asks(engine: Engine) -> None:
    for account in ("admin", "stranger"):
        with pytest.raises(FormRefused, match="choose the requester"):
            typed(engine, account)
    typed(engine, "admin", requester="anna.schmidt")
    (case_id,) = states(engine)
    run(engine)
    assert (of(engine, case_id)["requester"], of(engine, case_id)["entered_by"]) == ("anna.schmidt", "admin")


def test_a_form_without_anything_to_buy_is_refused(engine: Engine) -> None:
    with pytest.raises(FormRefused, match="nothing to buy"):
        typed(engine, description=None, quantity=None, unit_price=None, more_lines=None)
    assert states(engine) == {}


def test_a_waiting_request_is_changed_and_asked_about_anew_while_the_old_round_takes_no_answer(engine: Engine) -> None:
    (a,) = add(engine, request("600"))
    run(engine)
    first = of(engine, a)["digest"]
    assert changed(engine, a, lines=[{**LINE, "quantity": "1", "unit_price": "700.00"}], justification="fewer") == [
        "justification",
        "lines",
        "total",
    ]
    assert case(engine, a) == ("pending", "capture", None)
    with pytest.raises(Refused) as refused:
        answer(engine, a, "maria.keller")
    assert refused.value.code == "void"
    run(engine)
    found = of(engine, a)
    assert (found["net"], found["justification"]) == (Decimal(700), "fewer")
    assert found["digest"] != first
    with engine.connect() as connection:
        standing = rounds.latest(connection, [a])[a]
    assert (standing.number, standing.state, standing.digest) == (2, "open", found["digest"])
    assert [row["field"] for row in rows(engine, "select field from corrections order by field")] == [
        "justification",
        "lines",
        "total",
    ]


def test_procurement_may_change_it_and_others_may_not(engine: Engine) -> None:
    (a,) = add(engine, request("600"))
    run(engine)
    for account in ("ben.fischer", "maria.keller"):
        with pytest.raises(ChangeRefused, match="by its requester or by procurement"):
            changed(engine, a, account, risk="low")
    for account in ("admin", "stranger"):
        with pytest.raises(ChangeRefused, match="no one person's"):
            changed(engine, a, account, risk="low")
    assert case(engine, a) == ("waiting", "approve", None)
    assert changed(engine, a, "petra.lang", risk="low") == ["risk"]


def test_what_is_ordered_closed_or_worked_on_is_refused_with_where_it_stands(engine: Engine) -> None:
    ordered, closed = add(engine, request("100"), request("600", supplier="S-200"))
    run(engine)
    number = rows(engine, "select number from purchase_orders")[0]["number"]
    with pytest.raises(ChangeRefused, match=f"PR-{ordered} is ordered already, as {number}"):
        changed(engine, ordered, risk="low")
    answer(engine, closed, "maria.keller", "reject")
    run(engine)
    with pytest.raises(ChangeRefused, match=f"PR-{closed} is closed already: rejected"):
        changed(engine, closed, risk="low")
    (worked_on,) = add(engine, request("700"))
    take(engine, claim(engine), "read_request")
    with pytest.raises(ChangeRefused, match="try again in a minute"):
        changed(engine, worked_on, risk="low")
    assert count(engine, "corrections") == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"requester": "ben.fischer"}, "requester cannot be changed"),
        ({"colour": "red"}, "no field colour"),
        ({}, "nothing is changed"),
    ],
)
def test_who_asked_is_not_changed_and_unknown_fields_are_named(
    engine: Engine, changes: dict[str, Any], said: str
) -> None:
    (a,) = add(engine, request("600"))
    run(engine)
    with pytest.raises(ChangeRefused, match=said):
        changed(engine, a, **changes)


def test_a_number_that_is_none_and_a_request_that_is_not_there_are_named(engine: Engine) -> None:
    with pytest.raises(ChangeRefused, match="write it like PR-12"):
        change(engine, "twelve", {"risk": "low"}, account="anna.schmidt", actor="user:anna.schmidt")
    with pytest.raises(ChangeRefused, match="no request PR-99"):
        changed(engine, 99, risk="low")


def test_a_change_while_it_is_set_aside_releases_it(engine: Engine) -> None:
    (a,) = add(engine, request("600", cost_centre="9999"))
    run(engine)
    assert codes(engine, a) == ["cost_centre.unknown"]
    changed(engine, a, cost_centre="4100")
    run(engine)
    assert case(engine, a) == ("waiting", "approve", None)
    approved(engine, a)
    run(engine)
    assert case(engine, a)[1] == "receive"


def test_the_command_explains_a_request_that_is_stored(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = add(engine, request("600"), request("600", cost_centre="9999"))
    run(engine)
    monkeypatch.setattr(explain, "engine", lambda: engine)
    assert explain.main(["--request", f"PR-{a}"]) == 0
    told = capsys.readouterr().out
    assert "Anna Schmidt asks for 1,200.00 EUR" in told
    assert "Stage 1: Maria Keller" in told
    assert explain.main(["--request", f"PR-{b}"]) == 1
    assert "cannot be routed yet" in capsys.readouterr().err
    assert explain.main(["--request", "PR-999"]) == 1
    assert "there is no request PR-999" in capsys.readouterr().err
