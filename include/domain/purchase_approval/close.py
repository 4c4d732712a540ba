"""The step `log`: the end of a purchase. What is left of its money is free again, and its fact is written.

One fact per case, however often it is written; purchases that end earlier write theirs where they end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.cases.model import StepResult, Work
from include.domain import budgets
from include.stock.warehouse import warehouse

BOOKED = "booked"
UNDELIVERED = "not delivered"
"""Outcome of an order of which nothing came, and nothing more will."""


def log(work: Work) -> StepResult:
    """Close the order, free what is left of its commitment, and close the case."""
    connection = work.connection
    rows = connection.execute(
        text("""
            select o.case_id, bool_or(l.received - l.returned > 0 or l.invoiced - l.credited > 0) as delivered
            from purchase_orders o join purchase_order_lines l on l.order_id = o.case_id
            where o.case_id = any(:ids) group by o.case_id order by o.case_id"""),
        work.values,
    ).all()
    outcomes = {row.case_id: BOOKED if row.delivered else UNDELIVERED for row in rows}
    free(connection, list(outcomes))
    connection.execute(
        text("""
            update purchase_orders set state = 'closed', closed_at = coalesce(closed_at, now()),
                                       closed_why = coalesce(closed_why, 'complete')
            where case_id = any(:ids) and state = 'open'"""),
        work.values,
    )
    report(connection, outcomes)
    return StepResult(close=outcomes)


def free(connection: Connection, case_ids: Sequence[int]) -> None:
    """Free what is still committed for purchases of which nothing more will be booked."""
    budgets.release_all(connection, [(case_id, f"release/{case_id}") for case_id in case_ids])


def report(connection: Connection, outcomes: Mapping[int, str]) -> None:
    """Write or renew the facts of purchases that end now, each with its outcome."""
    if not outcomes:
        return
    connection.execute(
        text("""
            insert into report_purchase_facts (case_id, number, requested_on, department, cost_centre, category,
                                               supplier, amount, booked, outcome, approved_after, closed_after)
            select r.case_id, r.number, (r.requested_at at time zone :zone)::date, r.department, r.cost_centre,
                   r.category, r.supplier, r.amount,
                   coalesce((select sum(e.consumed) from budget_entries e where e.case_id = r.case_id), 0), v.outcome,
                   coalesce((select max(a.closed_at) from approval_rounds a
                             where a.case_id = r.case_id and a.state = 'approved'), o.ordered_at) - c.created_at,
                   now() - c.created_at
            from jsonb_to_recordset(:rows) as v(case_id bigint, outcome text)
            join purchase_requests r on r.case_id = v.case_id
            join cases c on c.id = r.case_id
            left join purchase_orders o on o.case_id = r.case_id
            on conflict (case_id) do update set
                department = excluded.department, cost_centre = excluded.cost_centre, category = excluded.category,
                supplier = excluded.supplier, amount = excluded.amount, booked = excluded.booked,
                outcome = excluded.outcome, approved_after = excluded.approved_after"""),
        {
            "rows": Jsonb([{"case_id": case_id, "outcome": outcome} for case_id, outcome in outcomes.items()]),
            "zone": warehouse().zone_name,
        },
    )
