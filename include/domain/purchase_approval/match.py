"""The step `match`: a delivered order waits here until everything that was received is invoiced and booked."""

from __future__ import annotations

from sqlalchemy import text

from include.approvals.people import people
from include.cases.model import StepResult, Work
from include.contracts.registry import contract

ROLE = "accounts_payable"
"""Who looks after invoices that do not come."""


def match(work: Work) -> StepResult:
    """Let invoiced orders go on; the others wait for accounts payable. Invoices are matched by their own workflow."""
    rows = work.connection.execute(
        text("""
            select o.case_id,
                   bool_and(l.invoiced - l.credited >= l.received - l.returned) as invoiced,
                   exists (select from supplier_invoices i where i.order_id = o.case_id
                           and i.matched_at is not null and i.booked_at is null) as to_book
            from purchase_orders o join purchase_order_lines l on l.order_id = o.case_id
            where o.case_id = any(:ids) group by o.case_id order by o.case_id"""),
        work.values,
    ).all()
    holders = people().holders(ROLE)
    owner = holders[0].id if holders else contract(work.workflow).step(work.step).owner.id
    return StepResult(wait={row.case_id: owner for row in rows if row.to_book or not row.invoiced})
