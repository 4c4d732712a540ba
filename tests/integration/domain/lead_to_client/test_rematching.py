"""A lead that was released with another address, number or name is matched anew, and nobody else's contact suffers."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.cases.steps import Position
from include.contracts.registry import contract
from include.domain.lead_to_client.assignment import assign
from include.domain.lead_to_client.crm import plan_crm
from include.domain.lead_to_client.duplicates import find_duplicates
from include.domain.lead_to_client.mail import plan_mail
from include.domain.lead_to_client.normalise import normalise
from include.domain.lead_to_client.segments import segment
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.systems import Failed, Outcome, PendingEffect
from tests.support.leads import at, claim, send, take
from tests.support.work import assert_balanced, change, receive, rows, states

ADA = {"email": "ada@exmaple.org", "first_name": "Ada", "last_name": "Byron", "country": "GB", "consent": True}
RIGHT = "ada@example.org"


class Picky(BuiltinCrm):
    """A CRM that refuses an address."""

    def apply(self, operation: str, effects: Any) -> Any:
        if operation == "upsert_contact" and any("exmaple" in str(effect.payload) for effect in effects):
            return [Failed("INVALID_EMAIL", permanent=True)] * len(effects)
        return super().apply(operation, effects)


class PickyMailbox(LocalMailbox):
    """A mail server that knows no such domain."""

    def apply(self, operation: str, effects: list[PendingEffect]) -> list[Outcome]:
        if any("exmaple" in effect.payload["to"] for effect in effects):
            return [Failed("550 no such domain", permanent=True)] * len(effects)
        return list(super().apply(operation, effects))


def set_aside(_work: Work) -> StepResult:
    return StepResult(
        quarantine={case: [Reason("email.invalid", "no such address", "email")] for case in _work.case_ids}
    )


def through(engine: Engine, crm: BuiltinCrm | None = None, until: str = "update_crm") -> Position:
    """Take what is pending from the first step to the CRM's update, or set it aside behind `find_duplicates`."""
    position = claim(engine)
    take(engine, position, "normalise", normalise)
    change(engine, "update cases set stage = 'find_duplicates' where stage = 'validate'")
    take(engine, position, "find_duplicates", find_duplicates)
    if until == "find_duplicates":
        take(engine, position, "update_crm", set_aside)
    else:
        send(engine, position, "update_crm", plan_crm, crm or BuiltinCrm(engine))
    return position


def lead(engine: Engine, crm: BuiltinCrm | None = None, until: str = "update_crm", **fields: Any) -> int:
    (case,) = receive(engine, [{**ADA, **fields}])
    position = through(engine, crm, until)
    if until == "update_crm" and crm is None:
        take(engine, position, "segment", set_aside)
    return case


def corrected(engine: Engine, case: int, crm: BuiltinCrm | None = None, **fields: Any) -> dict[str, Any]:
    """Release a lead with corrections, and take it to the CRM again; return the lead."""
    released = store.release(
        engine, [case], first_step=contract("lead_to_client").first_stage, actor="user:olga", corrections=fields
    )
    assert released == 1
    through(engine, crm)
    return known(engine, case)


def known(engine: Engine, case: int) -> dict[str, Any]:
    return rows(engine, "select *, contact_id::text as contact from leads where case_id = :id", id=case)[0]


def person(engine: Engine, contact: Any) -> dict[str, Any]:
    return rows(engine, "select * from directory_contacts where id::text = :id", id=str(contact))[0]


def in_crm(engine: Engine) -> dict[str, dict[str, Any]]:
    return {row["key"]: row["properties"] for row in rows(engine, "select key, properties from crm_contacts")}


def owners(engine: Engine) -> dict[str, str]:
    return {row["value"]: str(row["contact_id"]) for row in rows(engine, "select * from contact_keys")}


def told(engine: Engine, case: int) -> dict[str, Any]:
    query = "select actor, detail from events where case_id = :id and kind = 'matched anew'"
    (event,) = rows(engine, query, id=case)
    return dict(event["detail"])


def test_a_person_whom_nobody_else_is_stays_the_same_contact_put_right_here_and_in_the_crm(engine: Engine) -> None:
    case = lead(engine)
    before = known(engine, case)
    assert in_crm(engine)[before["contact"]]["email"] == ADA["email"]
    after = corrected(engine, case, email=RIGHT)
    assert (after["contact"], after["deal_id"]) == (before["contact"], before["deal_id"])
    assert person(engine, after["contact"])["email"] == RIGHT
    assert owners(engine) == {RIGHT: after["contact"]}, "the wrong address is nobody's any more"
    assert {key: one["email"] for key, one in in_crm(engine).items()} == {after["contact"]: RIGHT}
    assert told(engine, case) == {"former": after["contact"], "contact": after["contact"]}
    assert_balanced(engine)


def test_a_correction_of_a_correction_reaches_the_crm_too(engine: Engine) -> None:
    case = lead(engine)
    for address in ("ada@byron.org", RIGHT):
        after = corrected(engine, case, email=address)
        change(engine, "update cases set stage = 'segment', state = 'quarantined', claim_id = null,"
                       " reasons = '[{\"code\": \"x.y\", \"message\": \"x\"}]'")  # fmt: skip
    assert {key: one["email"] for key, one in in_crm(engine).items()} == {after["contact"]: RIGHT}
    assert owners(engine) == {RIGHT: after["contact"]}


def test_somebody_who_is_known_gets_the_lead_and_its_deal_and_the_other_contact_vanishes(engine: Engine) -> None:
    first = known(engine, lead(engine, email=RIGHT))
    change(engine, "update deals set state = 'lost', closed_at = now(), lost_at = now()")
    case = lead(engine, until="find_duplicates", first_name="A.", last_name="King", email="ada@exmaple.org")
    before = known(engine, case)
    assert before["contact"] != first["contact"]
    after = corrected(engine, case, email=RIGHT)
    assert (after["contact"], after["match"]) == (first["contact"], "same")
    left = person(engine, before["contact"])
    assert (left["email"], left["full_name"]) == (None, None), "nothing is kept of what was never right"
    assert owners(engine) == {RIGHT: first["contact"]}
    assert list(in_crm(engine)) == [first["contact"]]
    event = told(engine, case)
    assert (event["former_has_other_leads"], event["former_in_crm"]) == (False, False)
    assert rows(engine, "select contact_id::text as contact from deals where state = 'open'") == [
        {"contact": first["contact"]}
    ]


def test_what_the_crm_has_of_the_wrong_contact_is_for_a_person_to_merge(engine: Engine) -> None:
    first = known(engine, lead(engine, email=RIGHT))
    case = lead(engine, first_name="A.", last_name="King")
    before = known(engine, case)
    after = corrected(engine, case, email=RIGHT)
    assert after["contact"] == first["contact"]
    (pair,) = rows(
        engine, "select id, contact_a::text as a, contact_b::text as b, state, case_id from possible_duplicates"
    )
    assert {pair["a"], pair["b"]} == {before["contact"], first["contact"]}
    assert (pair["state"], pair["case_id"]) == ("open", case)
    assert told(engine, case)["pairs"] == [pair["id"]]
    assert owners(engine)[str(ADA["email"])] == before["contact"], "it stays what the CRM has, until somebody decides"
    assert after["deal_id"] == first["deal_id"], "the lead joins the deal that is open"
    assert rows(engine, "select state, reason from deals where id = :id", id=before["deal_id"]) == [
        {"state": "lost", "reason": "its only lead is somebody else's"}
    ]


def test_a_contact_of_other_leads_keeps_them_and_all_that_is_known_of_it(engine: Engine) -> None:
    others = known(engine, lead(engine))
    case = lead(engine)
    assert known(engine, case)["contact"] == others["contact"]
    before = person(engine, others["contact"])
    after = corrected(engine, case, email="grace@navy.example", first_name="Grace", last_name="Hopper")
    assert after["contact"] != others["contact"]
    assert after["match"] == "new"
    assert person(engine, others["contact"]) == before
    assert known(engine, others["case_id"])["contact"] == others["contact"]
    assert in_crm(engine)[others["contact"]]["email"] == ADA["email"]
    assert in_crm(engine)[after["contact"]]["email"] == "grace@navy.example"
    assert told(engine, case)["former_has_other_leads"] is True
    assert after["deal_id"] != others["deal_id"]


@pytest.mark.parametrize(
    "fields", [{"phone": "+442071234567"}, {"last_name": "King"}, {"company": "Analytical Engines"}]
)
def test_a_number_a_name_and_a_company_identify_too(engine: Engine, fields: dict[str, str]) -> None:
    case = lead(engine)
    corrected(engine, case, **fields)
    assert told(engine, case)["contact"] == known(engine, case)["contact"]


def test_a_correction_of_anything_else_leaves_the_match_alone(engine: Engine) -> None:
    case = lead(engine)
    before = known(engine, case)
    after = corrected(engine, case, city="London")
    assert (after["contact"], after["match"]) == (before["contact"], before["match"])
    assert rows(engine, "select * from events where kind = 'matched anew'") == []


def test_an_address_that_the_crm_refuses_is_corrected_and_the_case_goes_on(engine: Engine) -> None:
    lead(engine, email=RIGHT)
    crm = Picky(engine)
    case = lead(engine, crm, first_name="A.", last_name="King")
    assert states(engine)[case] == ("quarantined", "update_crm")
    corrected(engine, case, crm, email=RIGHT)
    assert states(engine)[case] == ("running", "segment"), "what was refused of the former contact holds nobody up"


def test_an_address_that_the_mail_server_refuses_is_corrected_and_the_answer_goes_to_the_right_one(
    engine: Engine,
) -> None:
    (case,) = receive(engine, [ADA])
    for address in (None, RIGHT):
        if address:
            store.release(engine, [case], first_step="capture", actor="user:olga", corrections={"email": address})
        position = through(engine)
        take(engine, position, "segment", segment)
        take(engine, position, "assign", assign)
        change(engine, "update cases set stage = 'send_mail' where stage = 'create_tasks'")
        send(engine, at(position, "send_mail"), "send_mail", plan_mail, PickyMailbox(engine))
    assert states(engine)[case] == ("running", "sync_reporting")
    assert [row["to"] for row in rows(engine, 'select "to" from mailbox')] == [RIGHT]
    assert sorted(row["state"] for row in rows(engine, "select state from effects where step = 'send_mail'")) == [
        "dead",
        "sent",
    ]
