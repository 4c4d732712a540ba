"""A new client gets its onboarding tasks and one welcome; what was opened before gets nothing again."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Engine, text

from include.cases.model import Work
from include.data.database import authored
from include.domain.deal_to_client.onboarding import onboarding, plan_onboarding_tasks, plan_welcome_mail
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.systems import Effect
from tests.support.leads import add_leads, contact
from tests.support.work import receive

WORKFLOW = "deal_to_client"
FRIDAY = datetime(2026, 11, 20, 15, tzinfo=UTC)


def client(engine: Engine, **person: str) -> int:
    """A won deal whose client is open; returns the case that opened it."""
    ada = contact(engine, **{"country": "DE", **person})
    add_leads(engine, {"contact_id": ada, "language": "fr"})
    (case,) = receive(engine, workflow=WORKFLOW, source="crm")
    with engine.begin() as connection:
        connection.execute(
            text("""
                insert into clients (deal_id, contact_id, case_id, since)
                select id, contact_id, :case, :since from deals where contact_id = cast(:ada as uuid)"""),
            {"case": case, "since": FRIDAY, "ada": ada},
        )
    return case


def plan(engine: Engine, ids: list[int]) -> tuple[list[Effect], list[Effect]]:
    with authored(engine, actor="system:test") as connection:
        work = Work(connection, WORKFLOW, "onboarding_tasks", 0, ids, "run")
        return plan_onboarding_tasks(work, BuiltinCrm(engine)), plan_welcome_mail(work, LocalMailbox(engine))


def test_a_new_client_gets_every_task_with_its_owner_and_due_time(engine: Engine) -> None:
    tasks, _ = plan(engine, [client(engine)])
    assert len(tasks) == len(onboarding().tasks)
    call = tasks[0].payload["properties"]
    assert call["owner"] == "customer-success@example.com"
    assert datetime.fromisoformat(call["due_at"]) == datetime(2026, 11, 23, 15, tzinfo=UTC)
    assert "ada@example.org" in call["subject"]
    assert len({effect.key for effect in tasks}) == len(tasks)


def test_planning_again_plans_the_same(engine: Engine) -> None:
    case = client(engine)
    assert plan(engine, [case]) == plan(engine, [case])


def test_the_welcome_is_in_the_language_of_the_lead_and_needs_no_consent(engine: Engine) -> None:
    _, (mail,) = plan(engine, [client(engine)])
    assert mail.payload["subject"] == "Bienvenue"
    assert "vous êtes client" in mail.payload["text"]


def test_who_objected_is_not_welcomed_by_mail(engine: Engine) -> None:
    case = client(engine)
    with engine.begin() as connection:
        connection.execute(text("insert into suppressions (email_key, reason) values ('ada@example.org', 'objected')"))
    tasks, mails = plan(engine, [case])
    assert tasks
    assert mails == []


def test_a_case_that_opened_no_client_plans_nothing(engine: Engine) -> None:
    client(engine)
    (other,) = receive(engine, workflow=WORKFLOW, source="crm")
    assert plan(engine, [other]) == ([], [])
