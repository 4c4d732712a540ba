"""The steps `check_budget` and `commit`: whether there is money for a request, and setting it aside once approved.

Only `commit` moves money, and only under the budget's lock; what `check_budget` says is what approvers are shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.approvals import rounds
from include.approvals.routing import BY_RULE
from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.domain.budgets import commit_all, find
from include.domain.purchase_approval.content import contents, digests
from include.domain.purchasing import purchasing
from include.stock.warehouse import warehouse


def check_budget(work: Work) -> StepResult:
    """Find each request's budget, and say whether it goes beyond what is available there now."""
    rows = work.connection.execute(
        text("""
            select case_id, cost_centre, category, amount, requested_at from purchase_requests
            where case_id = any(:ids) order by case_id"""),
        work.values,
    ).all()
    days = {row.case_id: warehouse().day_of(row.requested_at) for row in rows}
    found = find(work.connection, {row.case_id: (row.cost_centre, row.category, days[row.case_id]) for row in rows})
    result = StepResult()
    checked = []
    for row in rows:
        budget = found.get(row.case_id)
        if budget is None:
            result.quarantine[row.case_id] = [_no_budget(row.cost_centre, row.category, days[row.case_id])]
        checked.append(
            {
                "case_id": row.case_id,
                "budget_id": budget.id if budget else None,
                "over": budget is None or budget.available < row.amount,
            }
        )
    work.connection.execute(
        text("""
            update purchase_requests r set budget_id = v.budget_id, over_budget = v.over, updated_at = now()
            from jsonb_to_recordset(:rows) as v(case_id bigint, budget_id bigint, over boolean)
            where r.case_id = v.case_id"""),
        {"rows": Jsonb(checked)},
    )
    return result


def _no_budget(cost_centre: str, category: str, day: object) -> Reason:
    return Reason(
        "budget.missing",
        f"Cost centre {cost_centre} has no budget for {category} on {day}. Enter one, or correct the cost centre.",
        "cost_centre",
    )


def commit(work: Work) -> StepResult:
    """Commit the money of approved requests and give each its order; where the money is gone, approvers are asked anew.

    What is ordered is what was approved: a request whose content is not the approved one any more goes back.
    """
    connection = work.connection
    result = StepResult()
    good = _still_approved(connection, work.case_ids, result)
    rows = connection.execute(
        text("""
            select case_id, budget_id, amount, over_budget from purchase_requests
            where case_id = any(:ids) order by case_id"""),
        {"ids": good},
    ).all()
    committed = commit_all(
        connection, [(row.case_id, row.budget_id, row.amount, bool(row.over_budget)) for row in rows]
    )
    short = [case_id for case_id in good if not committed[case_id]]
    if short:
        connection.execute(
            text("""
                update purchase_requests set over_budget = true, approved_by = null, updated_at = now()
                where case_id = any(:ids)"""),
            {"ids": short},
        )
        store.record(connection, "budget.short", short)
        result.send_back |= dict.fromkeys(short, "route")
    _order(connection, [case_id for case_id in good if committed[case_id]], result)
    return result


def _still_approved(connection: Connection, case_ids: Sequence[int], result: StepResult) -> list[int]:
    """Return the cases whose content is what was approved; the others are sent back to be routed anew."""
    found = digests(contents(connection, case_ids))
    approved = {
        row.case_id: row
        for row in connection.execute(
            text("select case_id, digest, approved_by from purchase_requests where case_id = any(:ids)"),
            {"ids": list(case_ids)},
        )
    }
    standing = rounds.latest(connection, case_ids)
    good = []
    for case_id in case_ids:
        row = approved.get(case_id)
        if row is not None and row.approved_by is not None and row.digest == found.get(case_id):
            asked = standing.get(case_id)
            by_rule = row.approved_by.startswith(BY_RULE)
            if by_rule or (asked is not None and asked.state == "approved" and asked.digest == row.digest):
                good.append(case_id)
                continue
        result.send_back[case_id] = "route"
    changed = sorted(result.send_back)
    connection.execute(
        text("update purchase_requests set approved_by = null, updated_at = now() where case_id = any(:ids)"),
        {"ids": changed},
    )
    store.record(connection, "approval.void", changed, {"because": "the content is not the approved one"})
    return good


def _order(connection: Connection, case_ids: Sequence[int], result: StepResult) -> None:
    """Write the order of each request, with a number that it keeps; the lines stand as they were approved.

    An order that is there with this content stays as it is, with what was received against it. One that the ERP has
    with another content cannot be changed there, so its case is set aside.
    """
    standing = {
        row.case_id: row
        for row in connection.execute(
            text("""
                select o.case_id, o.digest = r.digest as same,
                       exists (select from effects e where e.case_id = o.case_id
                               and e.operation = 'create_purchase_order'
                               and e.state not in ('dead', 'pending', 'failed')) as sent
                from purchase_orders o join purchase_requests r on r.case_id = o.case_id
                where o.case_id = any(:ids)"""),
            {"ids": list(case_ids)},
        )
    }
    result.quarantine |= {
        case_id: [_ordered_otherwise()] for case_id, row in standing.items() if row.sent and not row.same
    }
    new = [case_id for case_id in case_ids if case_id not in standing]
    changed = [case_id for case_id, row in standing.items() if not row.same and not row.sent]
    _write_orders(connection, _numbers(connection, new) | dict.fromkeys(changed))
    over = {name: str(1 + category.over_delivery) for name, category in purchasing().categories.items()}
    accounts = {name: category.account for name, category in purchasing().categories.items()}
    values = {"ids": [*new, *changed], "over": Jsonb(over), "accounts": Jsonb(accounts)}
    connection.execute(text("delete from purchase_order_lines where order_id = any(:ids)"), values)
    connection.execute(
        text("""
            insert into purchase_order_lines (order_id, line, item, description, quantity, unit, unit_price, tax_rate,
                                              account, most)
            select l.case_id, l.line, l.item, l.description, l.quantity, l.unit, l.unit_price, l.tax_rate,
                   coalesce(l.account, cast(:accounts as jsonb)->>r.category),
                   l.quantity * (cast(:over as jsonb)->>r.category)::numeric
            from purchase_lines l join purchase_requests r on r.case_id = l.case_id
            where l.case_id = any(:ids)"""),
        values,
    )


def _numbers(connection: Connection, case_ids: Sequence[int]) -> dict[int, str | None]:
    """Take the next numbers of the year, in order of arrival; a number that was taken is never given again."""
    if not case_ids:
        return {}
    year, last = connection.execute(
        text("""
            insert into purchase_order_numbers as n (year, last)
            values (extract(year from now() at time zone :zone)::integer, :count)
            on conflict (year) do update set last = n.last + :count returning year, last"""),
        {"count": len(case_ids), "zone": warehouse().zone_name},
    ).one()
    return {
        case_id: f"PO-{year}-{last - len(case_ids) + place:06}" for place, case_id in enumerate(sorted(case_ids), 1)
    }


def _write_orders(connection: Connection, numbers: Mapping[int, str | None]) -> None:
    """Insert orders with their numbers; those without one here keep theirs, and are renewed."""
    connection.execute(
        text("""
            insert into purchase_orders (case_id, number, supplier, supplier_name, supplier_email, currency, net, tax,
                                         rate, cost_centre, category, requester, digest)
            select r.case_id, coalesce(v.number, o.number), r.supplier, coalesce(r.supplier_name, r.supplier),
                   r.supplier_email, r.currency,
                   r.net, r.tax, r.rate, r.cost_centre, r.category, r.requester, r.digest
            from jsonb_to_recordset(:rows) as v(case_id bigint, number text)
            join purchase_requests r on r.case_id = v.case_id
            left join purchase_orders o on o.case_id = r.case_id
            order by r.case_id
            on conflict (case_id) do update set
                supplier = excluded.supplier, supplier_name = excluded.supplier_name,
                supplier_email = excluded.supplier_email, currency = excluded.currency, net = excluded.net,
                tax = excluded.tax, rate = excluded.rate, cost_centre = excluded.cost_centre,
                category = excluded.category, requester = excluded.requester, digest = excluded.digest"""),
        {"rows": Jsonb([{"case_id": case_id, "number": number} for case_id, number in numbers.items()])},
    )


def _ordered_otherwise() -> Reason:
    return Reason(
        "order.sent",
        "The ERP has the order with another content, which cannot be changed there. Cancel it, and request anew.",
    )
