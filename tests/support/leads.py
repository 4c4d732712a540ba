"""Puts leads where the step `segment` finds them, and runs the steps from there on."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import Engine, text

from include.cases import store
from include.cases.model import Step, Work
from include.cases.steps import Position, Tally, run_step
from include.contracts.registry import contract
from include.data.database import authored
from include.domain.lead_to_client.crm import open_deals
from include.integrations.steps import Plan, run_effect_step
from include.integrations.systems import Mode, Provider
from tests.support.work import receive

WORKFLOW = "lead_to_client"
LEAD: dict[str, Any] = {
    "source": "website",
    "email": "ada@example.org",
    "email_key": "ada@example.org",
    "first_name": "Ada",
    "country": "DE",
    "consent": True,
    "match": "new",
}
_runs = itertools.count(1)


def contact(engine: Engine, email: str = "ada@example.org", **more: Any) -> str:
    """Add somebody to the directory, and return their id."""
    values = {"email": email, "email_key": email, "first_name": "Ada", **more}
    with engine.begin() as connection:
        names, places = ", ".join(values), ", ".join(f":{name}" for name in values)
        return str(
            connection.execute(
                text(f"insert into directory_contacts ({names}) values ({places}) returning id"), values
            ).scalar_one()
        )


def add_leads(engine: Engine, *leads: Mapping[str, Any]) -> list[int]:
    """Receive leads that are normalised already; each without a contact gets one of its own, and a deal."""
    ids = receive(engine, len(leads), stage="segment")
    with authored(engine, actor="system:test") as connection:
        for case_id, lead in zip(ids, leads, strict=True):
            values = {**LEAD, **lead, "case_id": case_id, "raw": "{}"}
            values["contact_id"] = values.get("contact_id") or contact(engine)
            names, places = ", ".join(values), ", ".join(f":{name}" for name in values)
            connection.execute(text(f"insert into leads ({names}) values ({places})"), values)
        open_deals(connection, ids)
    return ids


def claim(engine: Engine) -> Position:
    """Claim all that is pending, for a new run."""
    steps = contract(WORKFLOW).step_ids
    run_id = f"run-{next(_runs)}"
    claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=run_id)
    assert claimed is not None
    return Position(WORKFLOW, steps, "segment", claimed.id, run_id)


def at(position: Position, step: str) -> Position:
    """The same claim at another step."""
    return Position(position.workflow, position.steps, step, position.claim_id, position.run_id)


def take(engine: Engine, position: Position, step: str, rule: Step) -> Tally:
    """Run one step that changes nothing outside."""
    return run_step(engine, at(position, step), rule)


def send(engine: Engine, position: Position, step: str, plan: Plan, provider: Provider) -> Tally:
    """Run one step with effects, at the system whose role the step's contract names."""
    (system,) = contract(WORKFLOW).step(step).systems
    return run_effect_step(engine, at(position, step), plan, provider, system=system, mode=Mode.LIVE)


def again(engine: Engine, case_ids: list[int], rule: Any) -> None:
    """Run a rule for cases wherever they stand, as a clear of its task would."""
    with authored(engine, actor="system:test") as connection:
        rule(Work(connection, WORKFLOW, "assign", 0, case_ids, "again"))


def at_once(batches: Sequence[list[int]], run: Callable[[list[int]], object]) -> None:
    """Do the same with every batch, all at the same time; the first error is raised."""
    start = threading.Barrier(len(batches))

    def go(ids: list[int]) -> None:
        start.wait(30)
        run(ids)

    with ThreadPoolExecutor(len(batches)) as pool:
        list(pool.map(go, batches))
