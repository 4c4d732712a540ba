"""Walks leads and deals through all their steps, as runs of their DAGs do, and looks for people in a database."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sqlalchemy import Engine, text

from include.cases import store
from include.cases.steps import Position, run_step
from include.contracts.registry import contract
from include.domain.deal_to_client.clients import hand_to_finance, plan_client
from include.domain.deal_to_client.clients import log as log_deal
from include.domain.deal_to_client.onboarding import plan_onboarding_tasks, plan_welcome_mail
from include.domain.deal_to_client.read_deal import read_deal
from include.domain.lead_to_client.assignment import assign
from include.domain.lead_to_client.crm import plan_crm
from include.domain.lead_to_client.duplicates import find_duplicates
from include.domain.lead_to_client.mail import plan_mail
from include.domain.lead_to_client.normalise import normalise
from include.domain.lead_to_client.reporting import log, sync_reporting
from include.domain.lead_to_client.segments import segment
from include.domain.lead_to_client.tasks import plan_tasks
from include.domain.lead_to_client.validate import validate
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.steps import run_effect_step
from include.integrations.systems import Mode
from tests.support.work import change, receive, rows

LEADS: dict[str, tuple[Any, str | None]] = {
    "normalise": (normalise, None),
    "validate": (validate, None),
    "find_duplicates": (find_duplicates, None),
    "update_crm": (plan_crm, "crm"),
    "segment": (segment, None),
    "assign": (assign, None),
    "create_tasks": (plan_tasks, "crm"),
    "send_mail": (plan_mail, "mail"),
    "sync_reporting": (sync_reporting, None),
    "log": (log, None),
}
DEALS: dict[str, tuple[Any, str | None]] = {
    "read_deal": (read_deal, None),
    "open_client": (plan_client, "crm"),
    "onboarding_tasks": (plan_onboarding_tasks, "crm"),
    "welcome_mail": (plan_welcome_mail, "mail"),
    "handoff": (hand_to_finance, None),
    "log": (log_deal, None),
}
BUILTIN: dict[str, Callable[[Engine], Any]] = {"crm": BuiltinCrm, "mail": LocalMailbox}
ADA = {
    "email": "Ada.Lovelace@engines.example",
    "phone": "030 23125 017",
    "first_name": "Ada",
    "last_name": "Lovelace",
    "company": "Engines GmbH",
    "website": "https://engines.example",
    "country": "DE",
    "city": "Potsdam",
    "job_title": "Countess of computing",
    "interest": "pricing",
    "message": "Please call Lovelace before Friday.",
    "consent": True,
    "tracking": {"gclid": "Cj0KCQ-of-ada", "utm_source": "google"},
}
BEN = ADA | {
    "email": "ben@engines.example",
    "phone": "030 23125 051",
    "first_name": "Ben",
    "last_name": "Babbage",
    "message": "Ask ada.lovelace@engines.example, she knows.",
    "tracking": {},
}
"""A colleague, who names her."""
OF_ADA = ("ada.lovelace", "lovelace", "23125017", "23125 017", "countess", "cj0kcq-of-ada")
"""What must not be left of her; the city is her company's too."""
_runs = itertools.count(1)


def walk(
    engine: Engine, workflow: str = "lead_to_client", steps: Mapping[str, tuple[Any, str | None]] = LEADS
) -> list[Any]:
    """Take all pending cases through their steps; return what each step's operator would return."""
    run_id, told = f"walk-{next(_runs)}", []
    order = contract(workflow).step_ids
    claimed = store.claim(engine, workflow=workflow, steps=order, run_id=run_id)
    assert claimed is not None
    for name, (rule, system) in steps.items():
        position = Position(workflow, order, name, claimed.id, run_id)
        if system:
            provider = BUILTIN[system](engine)
            told.append(run_effect_step(engine, position, rule, provider, system=system, mode=Mode.LIVE))
        else:
            told.append(run_step(engine, position, rule))
    return told


def lead(engine: Engine, *bodies: Mapping[str, Any], source: str = "website") -> list[int]:
    """Take leads from their delivery to their end."""
    ids = receive(engine, [dict(body) for body in bodies], source=source)
    walk(engine)
    return ids


def misread(engine: Engine, body: Mapping[str, Any], *, correct: Mapping[str, Any]) -> int:
    """Take a lead to its end that somebody corrected when the CRM knew it already."""
    [case] = lead(engine, body)
    change(engine, """
        update cases set stage = 'log', state = 'quarantined', closed_at = null, outcome = null,
                         reasons = '[{"code": "email.invalid"}]' where id = :id""", id=case)  # fmt: skip
    first = contract("lead_to_client").first_stage
    store.release(engine, [case], first_step=first, actor="user:olga", corrections=correct)
    walk(engine)
    return case


def win(engine: Engine, case_id: int, **change: Any) -> int:
    """Let the deal of a lead be won, and its client be opened."""
    return decide(engine, case_id, {"stage": "won", "reason": "Lovelace liked it"} | change)


def lose(engine: Engine, case_id: int, **change: Any) -> int:
    """Let the deal of a lead be lost."""
    return decide(engine, case_id, {"stage": "lost", "reason": "Too dear for Lovelace"} | change)


def decide(engine: Engine, case_id: int, change: Mapping[str, Any]) -> int:
    """Let the CRM tell what became of the deal of a lead; return the case of that."""
    [deal] = rows(engine, "select deal_id::text as id from leads where case_id = :id", id=case_id)
    [told] = receive(engine, [{"deal_key": deal["id"], **change}],
                     workflow="deal_to_client", source="crm", stage="capture")  # fmt: skip
    walk(engine, "deal_to_client", DEALS)
    return told


def places_of(engine: Engine, needles: Iterable[str], *, but: Iterable[str] = ()) -> list[str]:
    """Every table in the database, whatever any inventory says, whose rows hold one of some words."""
    found = []
    with engine.connect() as connection:
        tables = connection.execute(
            text("""
                select table_name from information_schema.tables
                where table_schema = 'waybill' and table_type = 'BASE TABLE' order by 1""")
        ).scalars()
        for table in set(tables) - set(but):
            # bytes are shown in hexadecimal; as escapes they can be read
            connection.execute(text("set local bytea_output = 'escape'"))
            for word in needles:
                if connection.execute(
                    text(f'select exists (select from "{table}" t where strpos(lower(t::text), :word) > 0)'),
                    {"word": word.lower()},
                ).scalar_one():
                    found.append(f"{table}: {word}")
    return sorted(found)
