"""How long each step takes over a batch, without Airflow around it.

Shows where the seconds of a large batch go; the end-to-end figures are end_to_end.py's part.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import orjson
from sqlalchemy import Engine, text

from include.cases import store
from include.cases.steps import Position, run_step
from include.contracts.registry import contract
from include.data.database import authored
from include.data.frames import copy_rows
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.steps import run_effect_step
from include.integrations.systems import Mode
from tests.support.mix import known_mix

WORKFLOW = "lead_to_client"
_batches = count()


def store_leads(engine: Engine, leads: int, seed: int) -> None:
    """Put leads into the database as the intake would, in bulk."""
    import hashlib
    import uuid

    rows = []
    for number, body in enumerate(known_mix(leads, seed).bodies):
        raw = orjson.dumps(body)
        rows.append((uuid.uuid4(), "website", WORKFLOW, f"id:{seed}-{number}", hashlib.sha256(raw).digest(), raw))
    with authored(engine, actor="system:benchmark") as connection:
        copy_rows(connection, "deliveries", ("id", "source", "workflow", "key", "digest", "body"), rows)
        connection.execute(
            text("""
                insert into cases (workflow, key, delivery_id, stage, owner)
                select workflow, source || '/' || key, id, 'capture', 'revenue_operations' from deliveries d
                where not exists (select from cases where delivery_id = d.id)""")
        )


def lead_steps(engine: Engine) -> list[tuple[str, Callable[[Position], Any]]]:
    """Return the steps of lead-to-client as functions of a position."""
    from include.domain.lead_to_client.assignment import assign
    from include.domain.lead_to_client.crm import plan_crm
    from include.domain.lead_to_client.duplicates import find_duplicates
    from include.domain.lead_to_client.mail import plan_mail
    from include.domain.lead_to_client.normalise import normalise
    from include.domain.lead_to_client.reporting import log, sync_reporting
    from include.domain.lead_to_client.segments import segment
    from include.domain.lead_to_client.tasks import plan_tasks
    from include.domain.lead_to_client.validate import validate

    crm, mail = BuiltinCrm(engine), LocalMailbox(engine)

    def rule(step: Any) -> Callable[[Position], Any]:
        return lambda position: run_step(engine, position, step)

    def effects(plan: Any, provider: Any, system: str) -> Callable[[Position], Any]:
        return lambda position: run_effect_step(engine, position, plan, provider, system=system, mode=Mode.LIVE)

    return [
        ("normalise", rule(normalise)),
        ("validate", rule(validate)),
        ("find_duplicates", rule(find_duplicates)),
        ("update_crm", effects(plan_crm, crm, "crm")),
        ("segment", rule(segment)),
        ("assign", rule(assign)),
        ("create_tasks", effects(plan_tasks, crm, "crm")),
        ("send_mail", effects(plan_mail, mail, "mail")),
        ("sync_reporting", rule(sync_reporting)),
        ("log", rule(log)),
    ]


def run_batch(engine: Engine, limit: int) -> dict[str, float]:
    """Claim one batch, take it through all steps, and return the seconds of each."""
    seconds: dict[str, float] = {}
    steps = contract(WORKFLOW).step_ids
    begun = time.perf_counter()
    claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=f"bench-{next(_batches)}", limit=limit)
    seconds["capture"] = time.perf_counter() - begun
    assert claimed
    for step, run in lead_steps(engine):
        begun = time.perf_counter()
        run(Position(WORKFLOW, steps, step, claimed.id, "bench"))
        seconds[step] = time.perf_counter() - begun
    return seconds
