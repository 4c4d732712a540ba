"""Puts purchase requests where the steps find them, runs the steps, and answers as approvers do."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text

from include.approvals import rounds
from include.approvals.decisions import decide
from include.cases import store
from include.cases.model import Step
from include.cases.steps import Position, Tally, run_step
from include.contracts.registry import contract
from include.data.database import authored
from include.domain.purchase_approval.approve import approve
from include.domain.purchase_approval.budget import check_budget, commit
from include.domain.purchase_approval.close import log
from include.domain.purchase_approval.match import match
from include.domain.purchase_approval.order import plan_order
from include.domain.purchase_approval.read_request import read_request
from include.domain.purchase_approval.receive import receive as receive_goods
from include.domain.purchase_approval.route import route
from include.domain.purchase_approval.send_order import plan_mail
from include.domain.purchase_approval.supplier import look_up_supplier
from include.domain.purchase_approval.validate import validate
from include.integrations.builtin.erp import BuiltinErp
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.steps import run_effect_step
from include.integrations.systems import Mode, Provider
from tests.support.work import change, receive, rows

WORKFLOW = "purchase_approval"
RULES: dict[str, Step] = {
    "read_request": read_request,
    "validate": validate,
    "check_budget": check_budget,
    "route": route,
    "approve": approve,
    "commit": commit,
    "receive": receive_goods,
    "match": match,
    "log": log,
}
PLANS: dict[str, tuple[Any, str]] = {
    "look_up_supplier": (look_up_supplier, "erp"),
    "order": (plan_order, "erp"),
    "send_order": (plan_mail, "mail"),
}
SUPPLIERS: dict[str, dict[str, Any]] = {
    "S-100": {"name": "Łukasz Müller, Škoda s.r.o.", "email": "orders@skoda.example", "orders_by_mail": True},
    "S-200": {"name": "Rechenwerk AG", "email": "sales@rechenwerk.example", "orders_by_mail": False},
    "S-300": {"name": "Gesperrt GmbH", "blocked": True},
    "S-400": {"name": "Vorbei KG", "active": False},
}
LINE: dict[str, Any] = {
    "description": "Chair",
    "quantity": "2",
    "unit": "piece",
    "unit_price": "50.00",
    "tax_rate": "0.19",
}
REQUEST: dict[str, Any] = {
    "requester": "anna.schmidt",
    "cost_centre": "4100",
    "category": "office",
    "supplier": "S-100",
    "currency": "EUR",
    "requested_at": "2026-11-20T09:00:00Z",
    "lines": [LINE],
}
_runs = itertools.count(1)


def prepare(engine: Engine, amount: int = 100_000) -> None:
    """Enter suppliers, and budgets from 2026 on."""
    with authored(engine, actor="system:test") as connection:
        connection.execute(
            text("insert into erp_suppliers (key, record) values (:key, :record)"),
            [{"key": key, "record": Jsonb({"active": True, **record})} for key, record in SUPPLIERS.items()],
        )
        for centre, category in (("4100", "office"), ("4100", "marketing"), ("5200", "software"), ("6300", "tools")):
            connection.execute(
                text("""
                    insert into budgets (cost_centre, category, starts, ends, amount, currency)
                    values (:centre, :category, '2026-01-01', '2096-12-31', :amount, 'EUR')"""),
                {"centre": centre, "category": category, "amount": amount},
            )


def request(price: object = "50.00", quantity: object = "2", **changes: Any) -> dict[str, Any]:
    """A request body; one line of `quantity` at `price`."""
    return {**REQUEST, "lines": [{**LINE, "quantity": quantity, "unit_price": price}], **changes}


def add(engine: Engine, *bodies: Mapping[str, Any], source: str = "purchase-portal") -> list[int]:
    """Receive requests as the intake would."""
    return receive(engine, [dict(body) for body in bodies], workflow=WORKFLOW, source=source)


def claim(engine: Engine) -> Position:
    """Claim all that is pending, for a new run."""
    steps = contract(WORKFLOW).step_ids
    run_id = f"purchase-run-{next(_runs)}"
    claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=run_id)
    assert claimed is not None
    return Position(WORKFLOW, steps, steps[1], claimed.id, run_id)


def take(
    engine: Engine, position: Position, step: str, erp: Provider | None = None, mail: Provider | None = None
) -> Tally:
    """Run one step."""
    at = Position(position.workflow, position.steps, step, position.claim_id, position.run_id)
    if step in RULES:
        return run_step(engine, at, RULES[step])
    plan, system = PLANS[step]
    providers: dict[str, Provider] = {"erp": erp or BuiltinErp(engine), "mail": mail or LocalMailbox(engine)}
    return run_effect_step(engine, at, plan, providers[system], system=system, mode=Mode.LIVE)


def run(engine: Engine, *, until: str | None = None) -> dict[str, Tally]:
    """Claim what is pending and take it through the steps, the last one being `until`."""
    position = claim(engine)
    tallies = {}
    for step in position.steps[1:]:
        tallies[step] = take(engine, position, step)
        if step == until:
            break
    return tallies


def answer(engine: Engine, case_id: int, person: str, what: str = "approve", comment: str | None = None) -> None:
    """Decide on the open round of a case as somebody, and let the case look at it."""
    with authored(engine, actor=f"user:{person}") as connection:
        standing = rounds.latest(connection, [case_id])[case_id]
        decision = decide(
            connection,
            round_id=standing.id,
            person_id=person,
            account=person,
            answer=what,
            comment=comment or ("because" if what != "approve" else None),
            route="airflow",
        )
        if decision.round_closed:
            rounds.conclude(connection, standing.id)


def approved(engine: Engine, case_id: int) -> None:
    """Let everybody who is asked about a case approve it."""
    for _ in range(20):
        with engine.connect() as connection:
            standing = rounds.latest(connection, [case_id])[case_id]
        if not standing.is_open:
            return
        answer(engine, case_id, standing.waits_for[0])
    raise AssertionError("the round does not end")


def of(engine: Engine, case_id: int, what: str = "*") -> dict[str, Any]:
    """The request of a case."""
    (found,) = rows(engine, f"select {what} from purchase_requests where case_id = :id", id=case_id)
    return found


def codes(engine: Engine, case_id: int) -> list[str]:
    """The reasons for which a case is set aside."""
    (found,) = rows(engine, "select state, reasons from cases where id = :id", id=case_id)
    assert found["state"] == "quarantined", found
    return [reason["code"] for reason in found["reasons"]]


def case(engine: Engine, case_id: int) -> tuple[str, str, str | None]:
    """State, stage and outcome of a case."""
    (found,) = rows(engine, "select state, stage, outcome from cases where id = :id", id=case_id)
    return found["state"], found["stage"], found["outcome"]


def deliver(engine: Engine, case_id: int, *, book: bool = True) -> None:
    """Let everything of an order be received, and on wish invoiced and booked, as the other workflows write it."""
    change(
        engine,
        "update purchase_order_lines set received = quantity, invoiced = case when :book then quantity else 0 end"
        " where order_id = :id",
        id=case_id,
        book=book,
    )
    wake(engine, case_id)


def wake(engine: Engine, case_id: int) -> None:
    """Let a waiting case look again."""
    with authored(engine, actor="system:test") as connection:
        store.wake(connection, [case_id])


def count(engine: Engine, which: str, **values: Any) -> int:
    """How many rows there are."""
    (found,) = rows(engine, f"select count(*) as n from {which}", **values)
    return int(found["n"])
