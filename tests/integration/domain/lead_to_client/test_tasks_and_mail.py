"""Tasks and answers reach the CRM and the mailbox once, and only those who agreed are written to."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine, text

from include.domain.lead_to_client.assignment import assign, roster
from include.domain.lead_to_client.crm import plan_crm
from include.domain.lead_to_client.mail import plan_mail
from include.domain.lead_to_client.segments import segment
from include.domain.lead_to_client.tasks import plan_tasks
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.systems import Effect, Provider
from tests.support.leads import add_leads, again, at_once, claim, contact, send, take
from tests.support.work import change, rows


def through(engine: Engine, *leads: dict[str, Any], until: str = "send_mail") -> list[int]:
    """Take leads from the CRM's update to tasks and, usually, to mails."""
    ids = add_leads(engine, *leads)
    change(engine, "update cases set stage = 'update_crm' where id = any(:ids)", ids=ids)
    position = claim(engine)
    send(engine, position, "update_crm", plan_crm, BuiltinCrm(engine))
    take(engine, position, "segment", segment)
    take(engine, position, "assign", assign)
    send(engine, position, "create_tasks", plan_tasks, BuiltinCrm(engine))
    if until == "send_mail":
        send(engine, position, "send_mail", plan_mail, LocalMailbox(engine))
    return ids


def planned(engine: Engine, ids: list[int], plan: Any, provider: Provider) -> list[Effect]:
    effects: list[Effect] = []
    again(engine, ids, lambda work: effects.extend(plan(work, provider)))
    return effects


def mails(engine: Engine) -> list[str]:
    return [row["mail"] for row in rows(engine, "select mail from leads order by case_id")]


def test_the_owner_gets_one_task_with_a_due_time(engine: Engine) -> None:
    (case,) = through(engine, {"company": "Nordwind", "company_size": 600, "message": "Call me"})
    (task,) = rows(engine, "select * from crm_tasks")
    (lead,) = rows(engine, "select assignee, task_due_at, contact_id::text, deal_id::text from leads")
    assert task["owner"] == roster().people[lead["assignee"]].email
    assert task["properties"]["due_at"] == lead["task_due_at"].isoformat()
    assert task["properties"]["priority"] == "high"
    assert "Call me" in task["properties"]["body"]
    assert (task["contact_key"], task["deal_key"]) == (lead["contact_id"], lead["deal_id"])
    first, second = (planned(engine, [case], plan_tasks, BuiltinCrm(engine)) for _ in range(2))
    assert first == second
    assert first[-1].target == task["key"]


def test_contact_and_deal_know_their_owner_and_the_stage_never_goes_back(engine: Engine) -> None:
    ada = contact(engine)
    through(engine, {"contact_id": ada, "company_size": 5000}, {"contact_id": ada, "interest": "help"})
    (found,) = rows(engine, "select properties from crm_contacts")
    (lead,) = rows(engine, "select distinct assignee from leads")
    assert found["properties"]["lifecycle_stage"] == "sql"
    assert found["properties"]["segment"] == "support"
    assert found["properties"]["owner"] == roster().people[lead["assignee"]].email
    (deal,) = rows(engine, "select properties from crm_deals")
    assert deal["properties"]["owner"] == found["properties"]["owner"]


def test_an_owner_whom_sales_has_set_stays(engine: Engine) -> None:
    ada = contact(engine)
    through(engine, {"contact_id": ada})
    with engine.begin() as connection:
        connection.execute(
            text("""update crm_contacts set properties = properties || '{"owner": "boss@example.com"}'""")
        )
    through(engine, {"contact_id": ada})
    (found,) = rows(engine, "select properties->>'owner' as owner from crm_contacts")
    assert found["owner"] == "boss@example.com"


def test_only_those_who_agreed_and_did_not_object_are_written_to(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("insert into suppressions (email_key, reason) values ('no@example.org', 'unsubscribed')")
        )
    through(
        engine,
        {"email": "yes@example.org", "email_key": "yes@example.org"},
        {"email": "No@example.org", "email_key": "no@example.org"},
        {"consent": False},
        {"consent": None},
        {"email": None, "email_key": None, "phone": "+493023125101"},
    )
    assert mails(engine) == ["planned", "suppressed", "no_consent", "no_consent", "no_address"]
    (mail,) = rows(engine, 'select "to", message from mailbox')
    assert mail["to"] == "yes@example.org"
    assert mail["message"]["headers"]["Reply-To"].endswith("@example.com")


@pytest.mark.parametrize(
    ("lead", "words"),
    [
        ({"language": "de", "company_size": 5000}, "innerhalb von 1 Geschäftsstunden"),
        ({"language": None, "country": "FR"}, "40 heures ouvrées"),
        ({"language": "es-MX", "interest": "partner"}, "colaboración"),
        ({"language": "ja", "interest": "help"}, "thank you for your question"),
    ],
)
def test_the_answer_fits_segment_and_language(engine: Engine, lead: dict[str, Any], words: str) -> None:
    through(engine, lead)
    (mail,) = rows(engine, "select message from mailbox")
    assert words in mail["message"]["text"]
    assert words in mail["message"]["html"]


def test_who_sends_a_form_twice_gets_one_answer(engine: Engine) -> None:
    ada = contact(engine)
    through(engine, {"contact_id": ada}, {"contact_id": ada})
    through(engine, {"contact_id": ada}, {"contact_id": ada, "interest": "help"})
    assert mails(engine) == ["planned", "already_answered", "already_answered", "planned"]
    assert len(rows(engine, "select * from mailbox")) == 2


def test_planning_again_plans_the_same_mails(engine: Engine) -> None:
    ada = contact(engine)
    ids = through(engine, {"contact_id": ada}, {"contact_id": ada}, {})
    effects = planned(engine, ids, plan_mail, LocalMailbox(engine))
    assert [effect.case_id for effect in effects] == [ids[0], ids[2]]
    assert mails(engine) == ["planned", "already_answered", "planned"]


def test_two_runs_at_once_answer_one_person_once(engine: Engine) -> None:
    ada = contact(engine)
    batches = [add_leads(engine, {}, {"contact_id": ada}, {}) for _ in range(4)]
    for ids in batches:
        again(engine, ids, segment)
        again(engine, ids, assign)
    at_once(batches, lambda ids: planned(engine, ids, plan_mail, LocalMailbox(engine)))
    assert sorted(mails(engine)) == ["already_answered"] * 3 + ["planned"] * 9
