"""Finds what may be the same request twice, and purchases that were split over several requests.

It refuses nothing: whoever decides sees what was found, and a split purchase is routed by its sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.approvals.people import people
from include.approvals.policy import Routing, Unroutable, route
from include.cases import store
from include.cases.model import Work
from include.domain.purchase_approval.facts import facts, matrix
from include.domain.purchasing import purchasing

_TWICE = """
    with batch as (
        select array_agg(supplier) as suppliers, min(requested_at) - :window as since,
               max(requested_at) + :window as until
        from purchase_requests where case_id = any(:ids)
    ), contents as (
        select r.case_id, r.supplier, r.currency, r.gross, r.requested_at, c.state, c.outcome,
               (select jsonb_agg(jsonb_build_array(l.item, lower(l.description), trim_scale(l.quantity),
                                                   trim_scale(l.unit_price))
                                 order by l.item, lower(l.description), l.quantity, l.unit_price)
                from purchase_lines l where l.case_id = r.case_id) as lines
        from purchase_requests r join cases c on c.id = r.case_id, batch
        where r.supplier = any(batch.suppliers) and r.requested_at between batch.since and batch.until
    )
    select new.case_id, max(old.case_id) as same
    from contents new join contents old
        on old.supplier = new.supplier and old.currency = new.currency and old.gross = new.gross
       and old.lines = new.lines and old.case_id < new.case_id
       and old.requested_at between new.requested_at - :window and new.requested_at + :window
       and old.state <> 'rejected' and coalesce(old.outcome, '') <> all(:refused)
    where new.case_id = any(:ids) group by new.case_id"""

# What came later counts only once it is past this step; else two parts of one purchase could both miss the other.
_PARTS = """
    select new.case_id, array_agg(old.case_id order by old.case_id) as others, sum(old.amount) as amount
    from purchase_requests new
    join purchase_requests old
        on old.supplier = new.supplier and old.case_id <> new.case_id and old.amount is not null
       and (old.requester = new.requester or old.cost_centre = new.cost_centre)
       and old.requested_at between new.requested_at - :window and new.requested_at + :window
    join cases c on c.id = old.case_id
    where new.case_id = any(:ids)
      and c.state not in ('rejected', 'quarantined') and coalesce(c.outcome, '') <> all(:refused)
      and (old.case_id < new.case_id or c.stage <> all(:early))
    group by new.case_id"""

REFUSED = ("rejected", "withdrawn", "cancelled")
"""Outcomes of requests of which nothing was bought."""
_EARLY = ("capture", "read_request", "look_up_supplier", "validate")


def flag(work: Work, case_ids: Sequence[int]) -> None:
    """Write beside each request what it may be a repetition or a part of, and the sum that it is routed by.

    Two runs at once wait for each other here, so that of two parts one sees the other.
    """
    connection = work.connection
    connection.execute(text("select pg_advisory_xact_lock(hashtext('waybill.purchases_alike'))"))
    same = twice(connection, case_ids)
    parts = split(connection, case_ids)
    connection.execute(
        text("""
            update purchase_requests r set duplicate_of = v.same, split_with = coalesce(v.others, '{}'),
                                           routed_amount = coalesce(v.routed, r.amount), updated_at = now()
            from jsonb_to_recordset(:rows) as v(case_id bigint, same bigint, others bigint[], routed numeric)
            where r.case_id = v.case_id"""),
        {
            "rows": Jsonb(
                [
                    {
                        "case_id": case_id,
                        "same": same.get(case_id),
                        "others": parts[case_id][0] if case_id in parts else None,
                        "routed": str(parts[case_id][1]) if case_id in parts else None,
                    }
                    for case_id in case_ids
                ]
            )
        },
    )
    store.record_each(connection, "duplicate.possible", {case_id: {"of": other} for case_id, other in same.items()})
    store.record_each(
        connection, "split.possible", {case_id: {"with": list(others)} for case_id, (others, _) in parts.items()}
    )


def twice(connection: Connection, case_ids: Sequence[int]) -> dict[int, int]:
    """Return, for those of `case_ids` that have one, the latest earlier request with the same content."""
    rows = connection.execute(text(_TWICE), _values(case_ids, purchasing().duplicate_window_days))
    return {row.case_id: row.same for row in rows}


def split(connection: Connection, case_ids: Sequence[int]) -> dict[int, tuple[list[int], Decimal]]:
    """Return the requests that together go to other people than alone: with which others, and the sum."""
    found = {
        row.case_id: (list(row.others), row.amount)
        for row in connection.execute(
            text(_PARTS), {**_values(case_ids, purchasing().split_window_days), "early": list(_EARLY)}
        )
    }
    requests = connection.execute(
        text("""
            select case_id, requester, cost_centre, category, supplier_state, over_budget, risk, amount
            from purchase_requests where case_id = any(:ids) and amount is not null order by case_id"""),
        {"ids": list(found)},
    ).mappings()
    parts: dict[int, tuple[list[int], Decimal]] = {}
    for request in map(dict, requests):
        others, amount = found[request["case_id"]]
        total = request["amount"] + amount
        if _asked(request, total) != _asked(request, request["amount"]):
            parts[request["case_id"]] = (others, total)
    return parts


def _values(case_ids: Sequence[int], days: int) -> dict[str, Any]:
    return {"ids": list(case_ids), "window": timedelta(days=days), "refused": list(REFUSED)}


def _asked(request: Mapping[str, Any], amount: Decimal) -> object:
    """Who would be asked at an amount, in a form that can be compared."""
    try:
        routing: Routing = route(matrix(), facts(request, amount), request["requester"], people())
    except Unroutable as error:
        return error.code
    return routing.by_rule, [(stage.rule, stage.seats, stage.needed) for stage in routing.stages]
