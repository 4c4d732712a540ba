"""Close a transfer short: what is missing of it will not come any more.

For whoever receives the goods, when all was counted and some of it is not there. In Airflow this asks for an adjustment
out of transit, in your name and with your reason; it has to be approved like any other. Nothing moves before that, and
what arrives meanwhile still arrives. When it is approved, the rest leaves the books and the transfer is closed; when it
is refused, the transfer stays under way. Asking again while it is being decided changes nothing.
"""

from __future__ import annotations

from airflow.sdk import Param

from waybill.dags import workflow_dag
from waybill.operators.transfers import CloseTransferOperator

WORKFLOW = "stock_request"

with workflow_dag(
    "transfer_close_short",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    params={
        "transfer": Param(
            "", type="string", maxLength=100, title="Transfer", description="The number of its request.",
            examples=["ST-1204"],
        ),
        "reason": Param(
            "", type="string", maxLength=200, title="Why no more will come",
            description="Shown to whoever approves it.",
        ),
    },
):  # fmt: skip
    CloseTransferOperator(task_id="close_short", owner="warehouse")
