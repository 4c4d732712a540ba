"""Release, correct or discard purchase requests that are set aside.

Trigger it with a choice of requests: by case id, by reason, by when they arrived. The first run is a dry run that only
shows what would be chosen; trigger it again with *dry run* off. A released request goes through all steps again; what
was already sent for it is not sent again. A discarded request is closed with your reason.

It can be triggered as often as you like: a request that is not in quarantine any more is left alone.
"""

from __future__ import annotations

from airflow.sdk import Param

from waybill.dags import workflow_dag
from waybill.operators.quarantine import QuarantineOperator

WORKFLOW = "purchase_approval"

with workflow_dag(
    "purchase_replay",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    params={
        "dry_run": Param(True, type="boolean", title="Dry run", description="Only show which requests are chosen."),
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
            description="A reason code such as line.quantity, or its beginning: line, error.",
            examples=["error", "line.quantity", "rate.missing", "budget.missing", "effect.erp"],
        ),
        "since": Param(None, type=["null", "string"], format="date-time", title="Arrived since"),
        "until": Param(None, type=["null", "string"], format="date-time", title="Arrived before"),
        "corrections": Param(
            None,
            type=["null", "object"],
            title="Corrections",
            description='For one case: field and right value, such as {"cost_centre": "4100"}.',
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
    QuarantineOperator(task_id="replay", workflow=WORKFLOW)
