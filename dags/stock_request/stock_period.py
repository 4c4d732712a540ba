"""Close a month of the stock.

For accounting, after the last movement of the month is entered. What is not valued yet is valued first; then quantities
and values at the month's end are kept, and no movement can be dated into it any more. Nobody posts while it closes,
which takes seconds. Months are closed in order, and **a closed month is never opened again**: what comes out later is
booked in the month in which it comes out.

A dry run tells what the month would be worth and closes nothing. If a run fails in the middle, nothing is closed:
Airflow tries it again, and so can you.
"""

from __future__ import annotations

from airflow.sdk import Param

from waybill.dags import workflow_dag
from waybill.operators.stock_periods import ClosePeriodOperator
from waybill.params import optional

WORKFLOW = "stock_request"

with workflow_dag(
    "stock_period",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    params={
        "dry_run": Param(True, type="boolean", title="Dry run", description="Only tell what the month is worth."),
        "month": optional(
            "Month",
            "Year and month, such as 2026-10; it must be over.",
            pattern=r"^\d{4}-(0[1-9]|1[0-2])$",
            examples=["2026-10"],
        ),
    },
):
    ClosePeriodOperator(task_id="close", owner="finance")
