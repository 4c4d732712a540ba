"""Close a line of an order short: no more of it is expected, whatever was ordered.

For whoever requested the goods, or for purchasing on their behalf. The purchase goes on as if the line were complete,
and an invoice over more than was received is set aside instead of waiting. Closing the same line again changes nothing.
"""

from __future__ import annotations

from airflow.sdk import Param

from waybill.dags import workflow_dag
from waybill.operators.receipts import CloseShortOperator

WORKFLOW = "goods_receipt"

with workflow_dag(
    "receipt_close_short",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    params={
        "order": Param(
            "", type="string", maxLength=100, title="Order", description="The order's number.",
            examples=["PO-2026-000001"],
        ),
        "line": Param(1, type="integer", minimum=1, title="Line", description="The line of the order."),
        "reason": Param(
            "", type="string", maxLength=200, title="Why no more is expected",
            description="Kept in the purchase's timeline; write no names.",
        ),
    },
):  # fmt: skip
    CloseShortOperator(task_id="close_short", owner="procurement")
