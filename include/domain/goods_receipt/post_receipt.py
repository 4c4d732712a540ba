"""Steps `post_receipt` and `log`: the ERP learns what arrived or went back, and the case is closed."""

from __future__ import annotations

from sqlalchemy import text

from include.cases.model import StepResult, Work
from include.integrations.systems import Effect, Provider

OPERATIONS = {"delivery": ("receive_goods", "GR"), "return": ("return_goods", "RT")}
FROM_ERP = "erp-receipts"
"""The source of what was received or sent back in the ERP itself."""


def plan_post_receipt(work: Work, erp: Provider) -> list[Effect]:  # noqa: ARG001 - every plan is given its provider
    """Plan the movement of goods for each receipt of which something counts; what the ERP told, it has."""
    rows = work.connection.execute(
        text("""
            select r.case_id, r.kind, r.order_number, r.received_on,
                   array_agg(l.order_line order by l.order_line) as lines,
                   array_agg(l.accepted order by l.order_line) as quantities
            from goods_receipts r join (
                select case_id, order_line, sum(accepted) as accepted from goods_receipt_lines
                where case_id = any(:ids) and accepted > 0 group by case_id, order_line) l using (case_id)
            where r.recorded_at is not null and r.source is distinct from :from_erp
            group by r.case_id order by r.case_id"""),
        work.values | {"from_erp": FROM_ERP},
    )
    effects = []
    for row in rows:
        operation, prefix = OPERATIONS[row.kind]
        payload = {
            "key": f"{prefix}-{row.case_id}",
            "order": row.order_number,
            "received_on": row.received_on.isoformat(),
            "lines": [
                {"order_line": line, "quantity": f"{quantity.normalize():f}"}
                for line, quantity in zip(row.lines, row.quantities, strict=True)
            ],
        }
        target = payload["key"]
        effects.append(
            Effect.of(work, system="erp", operation=operation, case_id=row.case_id, target=target, payload=payload)
        )
    return effects


def log(work: Work) -> StepResult:
    """Close each case with what came of it."""
    rows = work.connection.execute(
        text("""
            with posted as (
                update goods_receipts set posted_at = coalesce(posted_at, now())
                where case_id = any(:ids) and recorded_at is not null returning case_id, kind
            )
            select p.case_id, p.kind, coalesce(sum(l.accepted), 0) as accepted
            from posted p left join goods_receipt_lines l using (case_id) group by p.case_id, p.kind"""),
        work.values,
    )
    outcomes = {"delivery": "received", "return": "returned"}
    return StepResult(close={row.case_id: outcomes[row.kind] if row.accepted else "nothing accepted" for row in rows})
