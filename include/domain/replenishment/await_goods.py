"""Steps `await_goods` and `log`: a need waits for its goods, and is over when they are there or will not come.

The database wakes it when what it asked for ends, or comes to wait for somebody else: of a purchase whose goods are
there only the invoice is missing, and that is no reason to keep the place from asking again.
"""

from __future__ import annotations

from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import text

from include.cases.model import Reason, StepResult, Work
from include.domain.purchasing import Standing, standings

REPLENISHED, REFUSED, UNDELIVERED = "replenished", "refused", "not delivered"
"""Outcomes of a need; after REFUSED the place is not asked for until its rule's review."""

_ASKED = """
    select n.case_id, n.terms->>'requester' as requester, c.id as asked, c.workflow, c.state,
           s.posted_at is not null as posted, coalesce(t.received, 0) as received
    from replenishment_needs n
    left join lateral (select * from cases where parent_id = n.case_id order by id desc limit 1) c on true
    left join stock_requests s on s.case_id = c.id
    left join lateral (select sum(received) as received from stock_transfer_lines where case_id = c.id) t on true
    where n.case_id = any(:ids) order by n.case_id"""


def await_goods(work: Work) -> StepResult:
    """Let those go on whose goods are there, or that ended without; the others wait for whoever asked."""
    rows = work.connection.execute(text(_ASKED), work.values).all()
    purchases = standings(work.connection, [row.asked for row in rows if row.workflow == "purchase_approval"])
    result = StepResult()
    outcomes = {}
    for row in rows:
        if row.asked is None:
            message = "Nothing was asked for by this need. Release it, so that it starts again, or discard it."
            result.quarantine[row.case_id] = [Reason("need.not_asked", message)]
        elif outcome := _bought(row, purchases[row.asked]) if row.asked in purchases else _fetched(row):
            outcomes[row.case_id] = outcome
        else:
            result.wait[row.case_id] = row.requester
    work.connection.execute(
        text("""
            update replenishment_needs n
            set outcome = v.outcome,
                arrived_at = case when v.outcome = :replenished then coalesce(arrived_at, now()) end
            from jsonb_to_recordset(:rows) as v(case_id bigint, outcome text) where n.case_id = v.case_id"""),
        {
            "rows": Jsonb([{"case_id": case_id, "outcome": outcome} for case_id, outcome in outcomes.items()]),
            "replenished": REPLENISHED,
        },
    )
    return result


def _bought(row: Any, purchase: Standing) -> str | None:
    ended = row.state in ("finished", "rejected")
    if purchase.complete or ended:
        if purchase.arrived:
            return REPLENISHED
        return UNDELIVERED if purchase.order == "closed" or (purchase.complete and not ended) else REFUSED
    return None


def _fetched(row: Any) -> str | None:
    if row.state not in ("finished", "rejected"):
        return None
    if row.received > 0:
        return REPLENISHED
    return UNDELIVERED if row.posted else REFUSED


def log(work: Work) -> StepResult:
    """Close each need's case with what came of it; the need is closed with it, and the place may ask again."""
    rows = work.connection.execute(
        text("select case_id, outcome from replenishment_needs where case_id = any(:ids)"), work.values
    )
    return StepResult(close={row.case_id: row.outcome for row in rows})
