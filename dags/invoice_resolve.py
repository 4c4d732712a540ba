"""Release, correct, accept or discard invoices that are set aside.

Trigger it with a choice of invoices: by case id, by reason, by when they arrived. The first run is a dry run that only
shows what would be chosen; trigger it again with *dry run* off. A released invoice goes through all steps again and is
booked once. With the correction `accept_difference` and why, you accept that price, quantity or a line differs from the
order: your name stays in the invoice's timeline. Correcting anything else afterwards ends the acceptance. What is over
the order's limits cannot be accepted. A discarded invoice is closed with your reason; its number is free again, and
what it had counted on its order is taken back.
"""

from __future__ import annotations

from airflow.sdk import Param

from waybill.dags import workflow_dag
from waybill.operators.quarantine import QuarantineOperator

WORKFLOW = "supplier_invoice"

with workflow_dag(
    "invoice_resolve",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    params={
        "dry_run": Param(True, type="boolean", title="Dry run", description="Only show which invoices are chosen."),
        "action": Param(
            "release",
            type="string",
            enum=["release", "discard"],
            title="Action",
            description="Release sends them through the workflow again; discard closes them.",
        ),
        "case_ids": Param(
            [], type="array", items={"type": "integer", "minimum": 1}, title="Case ids", description="One on each line."
        ),
        "reason": Param(
            None,
            type=["null", "string"],
            title="Reason",
            description="A reason code such as match.price, or its beginning: match, error.",
            examples=["match", "match.price", "order.missing", "invoice.duplicate", "effect.erp"],
        ),
        "since": Param(None, type=["null", "string"], format="date-time", title="Arrived since"),
        "until": Param(None, type=["null", "string"], format="date-time", title="Arrived before"),
        "corrections": Param(
            None,
            type=["null", "object"],
            title="Corrections",
            description='For one case: field and right value, such as {"accept_difference": "freight was agreed"}.',
        ),
        "discard_reason": Param(
            None,
            type=["null", "string"],
            maxLength=200,
            title="Why they are discarded",
            description="Kept as the outcome.",
        ),
    },
):
    QuarantineOperator(task_id="resolve", workflow=WORKFLOW)
