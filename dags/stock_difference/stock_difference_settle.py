"""Decide about a difference between the stock and the ERP.

For the keeper of the place: trigger it in Airflow with the number of the case, what you saw, and which side is wrong.
*waybill* asks for an adjustment of the stock, which goes through its approval; *erp* books the difference in the ERP;
*accept* puts nothing right, and the difference is not shown again as long as it is as much. Both sides are compared
once more before anything is booked: when the difference is another one by then, you are asked again. Nobody else but
whoever stands in for the keeper can decide; about places of several keepers, also somebody who is above all of them.
"""

from __future__ import annotations

from airflow.sdk import Param

from waybill.dags import workflow_dag
from waybill.operators.differences import SettleDifferenceOperator

WORKFLOW = "stock_difference"

with workflow_dag(
    "stock_difference_settle",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    params={
        "case_id": Param(1, type="integer", minimum=1, title="Case", description="The number of its case."),
        "seen": Param(
            "", type="string", maxLength=40, title="The difference as you saw it",
            description="What the ERP has more than the stock, such as 3 or -2.5; of a case about many, how many.",
            examples=["-2"],
        ),
        "decision": Param(
            "waybill", type="string", enum=["waybill", "erp", "accept"], title="Decision",
            description="waybill: the stock is wrong. erp: the ERP is wrong. accept: neither is put right.",
        ),
        "reason": Param(
            "", type="string", maxLength=500, title="Why",
            description="Kept with the case, and shown to whoever approves the adjustment.",
        ),
    },
):  # fmt: skip
    SettleDifferenceOperator(task_id="settle")
