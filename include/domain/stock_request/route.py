"""The step `route`: what each request is worth, and who is asked about it by the approval matrix, or why nobody is.

Requests of tills and of other workflows were decided where they come from; the matrix is not asked about them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, text

from include.approvals import routing
from include.approvals.people import people
from include.approvals.policy import Matrix, Routing
from include.cases.model import StepResult, Work
from include.domain.stock_request.content import contents
from include.domain.stock_request.facts import facts, matrix
from include.domain.stock_request.kinds import kinds
from include.domain.stock_request.read_request import posted
from include.stock.valuation import unit_costs

BY_FEED = f"{routing.BY_RULE}feed"
BY_HANDOFF = f"{routing.BY_RULE}handoff"
TOGETHER = timedelta(days=7)
"""Adjustments and write-offs of one person at one location within it are decided on by their sum."""

_ITEMS = """
    select distinct item from stock_request_lines
    where case_id = any(:ids) and item is not null and quantity is not null and verdict is null"""
# What comes in counts at what it is said to cost, if that is more than what is known: nobody talks a difference small.
_VALUE = """
    with l as (
        select l.case_id, l.quantity, i.abc, c.cost,
               case when l.quantity > 0 and r.kind = any(:brings) then l.unit_cost end as told
        from stock_requests r join stock_request_lines l using (case_id) join stock_items i on i.code = l.item
        left join unnest(cast(:items as text[]), cast(:costs as numeric[])) as c(item, cost) on c.item = l.item
        where r.case_id = any(:ids) and l.quantity <> 0 and l.verdict is null
    ), worth as (
        select case_id, sum(abs(quantity) * greatest(told, cost)) as value, min(abc) as abc,
               bool_or(greatest(told, cost) is null) as cost_unknown from l group by case_id
    )
    update stock_requests r set value = round(coalesce(w.value, 0), 2)
    from stock_requests s left join worth w using (case_id)
    where r.case_id = s.case_id and s.case_id = any(:ids)
    returning r.case_id, r.kind, r.feed, r.requester, r.entered_by, r.origin, r.destination, r.value,
              coalesce(w.abc, 'C') as abc, coalesce(w.cost_unknown, false) as cost_unknown"""
# What the same person had put right or written off there by rule shortly before, and earlier in this batch.
_BEFORE = """
    select r.case_id, sum(p.value) as value from stock_requests r
    join stock_requests p on p.requester = r.requester and p.origin = r.origin and p.kind = r.kind
     and p.kind in ('adjustment', 'write_off') and p.case_id <> r.case_id and not p.feed and not r.feed
     and (p.approved_by like :by_rule and p.updated_at > now() - cast(:window as interval)
          or p.case_id = any(:ids) and p.case_id < r.case_id)
    where r.case_id = any(:ids) group by r.case_id"""


def route(work: Work, known: Matrix | None = None) -> StepResult:
    """Write what each request is worth, its routing, and the digest of what its approvers will be shown."""
    connection = work.connection
    requests = _valued(connection, sorted(set(work.case_ids) - posted(connection, work.case_ids)))
    asked = {row["case_id"]: row for row in requests if row["requester"] is not None}
    connection.execute(
        text("""
            update stock_requests set approved_by = case when feed then :feed else :handoff end, updated_at = now()
            where case_id = any(:ids)"""),
        {"ids": [row["case_id"] for row in requests if not row["requester"]], "feed": BY_FEED, "handoff": BY_HANDOFF},
    )

    def ask(case_id: int) -> Routing:
        told = asked[case_id]
        return routing.routed(known or matrix(), facts(told), told["requester"], told["entered_by"], people())

    digests = {case_id: content.digest for case_id, content in contents(connection, list(asked)).items()}
    return routing.route_requests(connection, "stock_requests", digests, ask)


def _valued(connection: Connection, ids: Sequence[int]) -> list[Mapping[str, Any]]:
    """Write what requests are worth at the costs of now, and return what their facts are made of."""
    items = list(connection.execute(text(_ITEMS), {"ids": list(ids)}).scalars())
    costs = unit_costs(connection, items)
    values = {
        "ids": list(ids),
        "brings": [name for name, kind in kinds().items() if not kind.takes or kind.signed],
        "items": list(costs),
        "costs": list(costs.values()),
    }
    found = [dict(row) for row in connection.execute(text(_VALUE), values).mappings()]
    some = [row["case_id"] for row in found if row["kind"] in ("adjustment", "write_off") and row["requester"]]
    together = {"ids": some, "by_rule": f"{routing.BY_RULE}%", "window": TOGETHER}
    before = {row.case_id: row.value for row in connection.execute(text(_BEFORE), together)}
    return [{**row, "routed_value": row["value"] + before.get(row["case_id"], 0)} for row in found]
