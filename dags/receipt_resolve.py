"""Release, correct or discard goods receipts that are set aside.

Trigger it with a choice of receipts: by case id, by reason, by when they arrived. The first run is a dry run that only
shows what would be chosen; trigger it again with *dry run* off. A released receipt goes through all steps again and
counts once. A discarded one is closed with your reason; what it had counted on its order is taken back.
"""

from __future__ import annotations

from airflow.sdk import Param

from waybill.dags import workflow_dag
from waybill.operators.quarantine import QuarantineOperator

WORKFLOW = "goods_receipt"

with workflow_dag(
    "receipt_resolve",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    params={
        "dry_run": Param(True, type="boolean", title="Dry run", description="Only show which receipts are chosen."),
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
            description="A reason code such as receipt.over_tolerance, or its beginning: receipt, error.",
            examples=["receipt.over_tolerance", "receipt.wrong_item", "order", "effect.erp"],
        ),
        "since": Param(None, type=["null", "string"], format="date-time", title="Arrived since"),
        "until": Param(None, type=["null", "string"], format="date-time", title="Arrived before"),
        "corrections": Param(
            None,
            type=["null", "object"],
            title="Corrections",
            description='For one case: field and right value, such as {"order": "PO-2026-000001"}.',
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
