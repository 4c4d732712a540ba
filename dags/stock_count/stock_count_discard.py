"""Close a count sheet that is not needed any more.

For the keeper of the location: trigger it in Airflow with the sheet's number and your reason. What was counted on the
sheet stays counted; what was not is due again, and stands on a sheet of the next day that is planned.
"""

from __future__ import annotations

from airflow.sdk import Param

from waybill.dags import workflow_dag
from waybill.operators.counts import DiscardSheetOperator

WORKFLOW = "stock_count"

with workflow_dag(
    "stock_count_discard",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    params={
        "sheet": Param(
            "", type="string", maxLength=100, title="Sheet", description="The number of the count sheet.",
            examples=["CS-20260131-MAIN-1"],
        ),
        "reason": Param(
            "", type="string", maxLength=200, title="Why it is not counted",
            description="Kept as the sheet's outcome; write no names.",
        ),
    },
):  # fmt: skip
    DiscardSheetOperator(task_id="discard")
