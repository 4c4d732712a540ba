"""The demo's purchases: requested, decided by people over Airflow's API, ordered, received, invoiced, and one left.

People answer here as `include.runtime.desk` answers: signed in as themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import text

from include.data.database import authored
from include.data.rates import Published, store_rates
from include.domain.budgets import load_budgets
from include.intake.sender import parcel
from include.runtime import tryton
from include.runtime.demo.stage import Stage, mailing
from include.runtime.desk import Desk
from include.samples import purchases as samples
from include.samples import receipts as papers
from include.samples.purchases import Purchase

DECISIONS = "purchase_decision"
ANSWERS = {
    "approved": ("approve", ""),
    "mismatch": ("approve", ""),
    "rejected": ("reject", "The one in the entrance hall is two years old."),
}
"""How each sample that is asked about is answered; the others are left waiting."""

ASKED = """
    select r.run_id, s.number, (array_agg(p.person order by p.place))[1] as person
    from cases c join approval_rounds r on r.case_id = c.id and r.state = 'open'
    join approval_stages s on s.round_id = r.id and s.state = 'open' and s.asked_at is not null
    join approval_seats p on p.stage_id = s.id
    where c.delivery_id = cast(:receipt as uuid) group by r.run_id, s.number"""


def show_purchases(stage: Stage) -> tuple[list[str], bool]:
    """Play the sample purchases to where each of them ends; return all receipts, and whether all settled in time."""
    _prepare(stage)
    name = mailing()
    requests = samples.purchases(mailing=name)
    parcels = [parcel(each.payload, each.payload["id"]) for each in requests]
    receipts = dict(zip((each.name for each in requests), stage.send("purchase-portal", parcels), strict=True))
    settled = stage.follow("Purchase requests", list(receipts.values()))
    _decide(stage, requests, receipts)
    decided = [receipts[each.name] for each in requests if each.ends in ANSWERS]
    settled &= stage.wait("not every decision has had its consequence", lambda: _moved_on(stage, decided))
    settled &= _name_a_deputy(stage)
    deliveries = _send_papers(stage, papers.deliveries, receipts, name)
    settled &= stage.follow("Deliveries of goods", deliveries)
    invoices = _send_papers(stage, papers.invoices, receipts, name)
    everything = [*receipts.values(), *deliveries, *invoices]
    settled &= stage.follow("Invoices, and what waited for them", everything)
    return everything, settled


def standing(stage: Stage, receipts: Sequence[str]) -> list[dict[str, Any]]:
    """Return where each request stands, and who has it: number, what, amount, stands, owner, why."""
    with stage.engine.connect() as connection:
        rows = connection.execute(
            text("""
                select c.id, coalesce(r.number, 'PR-' || c.id) as number,
                       (select description from purchase_lines l where l.case_id = c.id order by line limit 1) as what,
                       r.gross, r.currency,
                       case c.state when 'finished' then c.outcome when 'waiting' then 'waits at ' || c.stage
                                    when 'quarantined' then 'set aside' else c.state end as stands,
                       case when c.state in ('finished', 'rejected') then '' else c.owner end as owner,
                       coalesce((select string_agg(reason->>'code', ', ') from jsonb_array_elements(c.reasons) reason),
                                (select string_agg(distinct d.answer || ' by ' || d.person, ', ')
                                 from approval_rounds a join approval_decisions d on d.round_id = a.id
                                 where a.case_id = c.id),
                                r.approved_by, '') as why
                from cases c left join purchase_requests r on r.case_id = c.id
                where c.delivery_id = any(cast(:receipts as uuid[])) and c.workflow = 'purchase_approval'
                union all
                select c.id, 'invoice', 'for ' || coalesce(i.order_number, '?'), i.gross,
                       i.currency, 'set aside', c.owner, (select string_agg(reason->>'code', ', ')
                                              from jsonb_array_elements(c.reasons) reason)
                from cases c left join supplier_invoices i on i.case_id = c.id
                where c.delivery_id = any(cast(:receipts as uuid[])) and c.workflow = 'supplier_invoice'
                  and c.state = 'quarantined'
                order by 1"""),
            {"receipts": list(receipts)},
        )
        return [dict(row) for row in rows.mappings()]


def _prepare(stage: Stage) -> None:
    """Enter suppliers, budgets and exchange rates; made up, and the same each time."""
    if tryton.chosen(stage.home):
        tryton.enter_suppliers(stage.home, stage.engine, samples.suppliers())
    with authored(stage.engine, actor="system:demo") as connection:
        connection.execute(
            text("insert into erp_suppliers (key, record) values (:key, :record) on conflict (key) do nothing"),
            [{"key": key, "record": Jsonb(record)} for key, record in samples.suppliers().items()],
        )
        load_budgets(connection, samples.budgets())
        store_rates(connection, [Published(*rate) for rate in samples.rates()], "samples")


def _decide(stage: Stage, requests: Sequence[Purchase], receipts: dict[str, str]) -> None:
    """Answer as the people who are asked."""
    with Desk(stage.home) as desk:
        for request in requests:
            if request.ends not in ANSWERS:
                continue
            answer, comment = ANSWERS[request.ends]
            asked = _asked(stage, receipts[request.name])
            if asked is None:
                continue
            said = desk.answer(
                asked["person"], DECISIONS, asked["run_id"], answer, stage=asked["number"], comment=comment
            )
            stage.say(f"{asked['person']} answers {answer} to “{request.name}” over Airflow's API: {said.status_code}")


def _name_a_deputy(stage: Stage) -> bool:
    """Let somebody say who decides for them while they are away, next week, so that it changes nothing today."""
    today = datetime.now(UTC).date()
    first, last = (f"{today + timedelta(days=days)}" for days in (7, 11))
    away = {"deputy": "frank.weber", "starts": first, "ends": last, "reason": "on leave"}
    return stage.run("approval_delegate", away, "tom.berger")


def _asked(stage: Stage, receipt: str) -> dict[str, Any] | None:
    """Wait until a request's first stage is asked; None when it is not in time."""
    found: list[dict[str, Any]] = []

    def look() -> bool:
        with stage.engine.connect() as connection:
            found[:] = [dict(row) for row in connection.execute(text(ASKED), {"receipt": receipt}).mappings()]
        return bool(found)

    stage.wait("nobody has been asked about a request", look)
    return found[0] if found else None


def _moved_on(stage: Stage, receipts: Sequence[str]) -> bool:
    with stage.engine.connect() as connection:
        left: int = connection.execute(
            text("""
                select count(*) from cases where delivery_id = any(cast(:receipts as uuid[]))
                  and (state in ('pending', 'running') or stage = 'approve' and state = 'waiting')"""),
            {"receipts": list(receipts)},
        ).scalar_one()
    return left == 0


def _send_papers(stage: Stage, make: Any, receipts: dict[str, str], name: str) -> list[str]:
    """Send what the warehouse or the suppliers have about this demo's orders."""
    with stage.engine.connect() as connection:
        mine = set(
            connection.execute(
                text("""
                    select o.number from purchase_orders o join cases c on c.id = o.case_id
                    where c.delivery_id = any(cast(:receipts as uuid[]))"""),
                {"receipts": list(receipts.values())},
            ).scalars()
        )
        orders = [order for order in papers.open_orders(connection) if order.number in mine]
    sent = []
    for sample in make(orders, mailing=name):
        sent += stage.send(sample.source, [parcel(sample.payload, sample.payload["id"])])
    return sent
