"""Who is asked about what leaves, is put right or written off; and that a decision holds for what was seen."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from include.approvals import rounds
from include.approvals.decisions import Refused
from include.data.database import authored
from include.domain.stock_request.entry import FORM
from include.stock.valuation import value
from tests.support.stock import answer, approved, of, prepare, reasons, release, request, state, stock, work
from tests.support.work import change, rows


@pytest.fixture
def desk(engine: Engine) -> Engine:
    prepare(engine)
    return engine


def shown(engine: Engine, case: int) -> dict[str, str]:
    (found,) = rows(
        engine, "select shown, digest from approval_rounds where case_id = :id order by number desc limit 1", id=case
    )
    return dict(found["shown"])


def standing(engine: Engine, case: int) -> rounds.Round:
    with engine.connect() as connection:
        return rounds.latest(connection, [case])[case]


def test_small_is_by_rule_more_is_one_person_and_much_is_two(desk: Engine) -> None:
    slip = request(desk, "adjustment", {"item": "BOLT-8", "quantity": -10})
    some = request(desk, "write_off", {"item": "LAMP", "quantity": 5}, requester="lena.hoffmann")
    much = request(desk, "adjustment", {"item": "LAMP", "quantity": 100}, location="COLD")
    work(desk, until="approve")
    assert of(desk, slip, "value, approved_by") == {"value": 5, "approved_by": "rule:slip"}
    assert state(desk, slip)[1] == "post"
    assert (state(desk, some)[0], state(desk, much)[0]) == ("waiting", "waiting")
    assert approved(desk, some) == ["olaf.winter"]
    assert sorted(approved(desk, much)) == ["frank.weber", "olaf.winter"]
    work(desk, until="approve")
    assert state(desk, some)[1] == state(desk, much)[1] == "post"
    assert of(desk, some, "approved_by")["approved_by"] == f"round:{standing(desk, some).id}"


def test_many_small_ones_are_decided_on_as_a_large_one(desk: Engine) -> None:
    batch = [request(desk, "write_off", {"item": "LAMP", "quantity": 1}) for _ in range(3)]
    work(desk, until="approve")
    assert [state(desk, case)[0] for case in batch] == ["running", "waiting", "waiting"]
    later = request(desk, "write_off", {"item": "LAMP", "quantity": 1})
    elsewhere = request(desk, "write_off", {"item": "LAMP", "quantity": 1}, location="SHOP")
    work(desk, until="approve")
    assert (state(desk, later)[0], state(desk, elsewhere)[0]) == ("waiting", "running")


def test_approvers_see_what_they_decide_on(desk: Engine) -> None:
    case = request(
        desk,
        "write_off",
        {"item": "BOLT-8", "quantity": 3, "unit": "box", "note": "rusty"},
        {"item": "LAMP", "quantity": 2},
        reason="water",
        occurred_at="2026-11-20T10:00:00Z",
    )
    work(desk, until="approve")
    told = shown(desk, case)
    assert told["Kind"] == "Write-off"
    assert (told["From"], told["To"]) == ("MAIN, Main warehouse", "SCRAP, Written off")
    assert (told["Reason"], told["When"], told["Worth"]) == ("water", "2026-11-20 11:00", "230.00 EUR")
    assert told["Line 1"] == "300 pcs (3 box) [BOLT-8] Bolts M8: rusty"


def test_nobody_approves_their_own_by_any_route(desk: Engine) -> None:
    own = request(desk, "adjustment", {"item": "LAMP", "quantity": -5}, requester="olaf.winter")
    typed = request(desk, "write_off", {"item": "LAMP", "quantity": 5}, entered_by="olaf.winter")
    corrected = request(desk, "adjustment", {"item": "NOPE", "quantity": -5}, location="SHOP")
    work(desk, until="approve")
    release(desk, corrected, actor="user:sara.neumann", lines=[{"item": "LAMP", "quantity": "-5"}])
    work(desk, until="approve")
    assert standing(desk, own).waits_for == standing(desk, typed).waits_for == ["sara.neumann"]
    assert standing(desk, corrected).waits_for == ["karl.brandt"]
    for case in (own, typed):
        with pytest.raises(Refused):
            answer(desk, case, "olaf.winter")


def test_a_refusal_closes_the_case_and_a_changed_request_is_asked_about_anew(desk: Engine) -> None:
    refused = request(desk, "write_off", {"item": "LAMP", "quantity": 5})
    changed = request(desk, "write_off", {"item": "LAMP", "quantity": 6}, location="SHOP")
    work(desk, until="approve")
    answer(desk, refused, "olaf.winter", "reject")
    approved(desk, changed)
    first = of(desk, changed, "digest")["digest"]
    change(
        desk,
        """update cases set state = 'quarantined', reasons = '[{"code": "stock.short", "message": "x"}]'
           where id = :id""",
        id=changed,
    )
    release(desk, changed, lines=[{"item": "LAMP", "quantity": 7}])
    work(desk, until="approve")
    assert state(desk, refused) == ("finished", "approve", "rejected")
    assert state(desk, changed)[0] == "waiting"
    assert of(desk, changed, "digest, approved_by")["approved_by"] is None
    assert of(desk, changed, "digest")["digest"] != first
    assert standing(desk, changed).number == 2


def test_a_difference_is_not_talked_small_by_a_cost_of_ones_own(desk: Engine) -> None:
    case = request(desk, "adjustment", {"item": "LAMP", "quantity": -50, "unit_cost": "4.01"})
    unknown = request(desk, "write_off", {"item": "MYSTERY", "quantity": 1})
    work(desk, until="approve")
    assert of(desk, case, "value")["value"] == 2000
    assert state(desk, case)[0] == state(desk, unknown)[0] == "waiting"
    assert of(desk, unknown, "value")["value"] == 0


def test_the_cost_of_now_counts_before_the_standard_cost(desk: Engine) -> None:
    stock(desk, "BOLT-8", 100, unit_cost="2.00")
    with authored(desk, actor="system:test") as connection:
        value(connection)
    case = request(desk, "write_off", {"item": "BOLT-8", "quantity": 10})
    work(desk, until="approve")
    assert of(desk, case, "value")["value"] == 20


def test_a_form_goes_the_same_way_once(desk: Engine) -> None:
    form = {"kind": "issue", "from": "MAIN", "item": "BOLT-8", "quantity": "2"}
    for _ in range(2):
        FORM.submit(desk, form, account="olaf.winter", form_id="run-1", actor="user:olaf.winter")
    (case,) = rows(desk, "select id from cases")
    work(desk, until="approve")
    assert of(desk, case["id"], "source, requester, kind, approved_by") == {
        "source": "stock-form", "requester": "olaf.winter", "kind": "issue", "approved_by": "rule:any",
    }  # fmt: skip
    assert reasons(desk, case["id"]) == []
