"""Cancel an order of which nothing was received and nothing invoiced.

For whoever requested it, for procurement and for finance. The order's money is free again at once, the ERP has the
order cancelled, a supplier who got it by mail is told by mail, and the purchase closes as `cancelled`. Goods and
invoices that still come for it are set aside. When something came already, use `receipt_close_short` instead.
Cancelling the same order again changes nothing, and tries once more to tell a system that refused.

When it fails because a system is away, nothing needs to be done: it is tried again for about an hour. After that,
trigger it again.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Param

from waybill.dags import workflow_dag
from waybill.operators.cancellations import CancelOrderOperator

WORKFLOW = "purchase_approval"

with workflow_dag(
    "purchase_cancel",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    max_active_runs=16,
    deadline_after=timedelta(hours=2),
    params={
        "order": Param(
            "", type="string", minLength=1, maxLength=100, title="Order",
            description="The order's number, or the request's, such as PR-12.", examples=["PO-2026-000001"],
        ),
        "reason": Param(
            "", type="string", minLength=1, maxLength=200, title="Why it is not needed any more",
            description="Kept in the purchase's timeline; write no names.",
        ),
        "dry_run": Param(
            False, type="boolean", title="Only look",
            description="Say in the log what would happen, and change nothing.",
        ),
    },
):  # fmt: skip
    CancelOrderOperator(task_id="cancel", owner="procurement", retries=16)
