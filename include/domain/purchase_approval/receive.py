"""The step `receive`: an order waits here until all of it was delivered, or nothing more will be."""

from __future__ import annotations

from sqlalchemy import text

from include.cases.model import StepResult, Work
from include.domain.purchase_approval.close import free, report


def receive(work: Work) -> StepResult:
    """Let delivered orders go on and close cancelled ones; the others wait for the requester, who misses the goods."""
    rows = work.connection.execute(
        text("""
            select o.case_id, o.requester, o.state,
                   bool_and(l.short_closed or l.received - l.returned >= l.quantity) as complete
            from purchase_orders o join purchase_order_lines l on l.order_id = o.case_id
            where o.case_id = any(:ids) group by o.case_id order by o.case_id"""),
        work.values,
    ).all()
    result = StepResult()
    for row in rows:
        if row.state == "cancelled":
            result.close[row.case_id] = "cancelled"
        elif not row.complete:
            result.wait[row.case_id] = row.requester
    free(work.connection, list(result.close))
    report(work.connection, result.close)
    return result
