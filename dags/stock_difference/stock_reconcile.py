"""Compare the stock with the ERP every day.

First the stock ledger is held against itself; when it does not agree, the task fails and says what to run. Then every
item at every location is compared with the ERP. What is on its way to the ERP is no difference yet. What differs is a
case of `stock_difference`: one for each place, or, beyond fifty, one for all with a list in the folder of exports;
a difference that has an open case is not opened again, and open cases are brought up to date. When the ERP is away the
task is tried again, and nothing is opened from half an answer.

It compares what is there now, so a run for a past day in Airflow does what today's does; clearing and backfilling are
safe. Where effects are captured, as on staging, there is nothing to compare and the task is skipped.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronDataIntervalTimetable

from include.stock.warehouse import warehouse
from waybill.dags import workflow_dag
from waybill.operators.differences import ReconcileOperator

WORKFLOW = "stock_difference"

with workflow_dag(
    "stock_reconcile",
    WORKFLOW,
    schedule=CronDataIntervalTimetable("0 4 * * *", timezone=warehouse().zone.key),
    purpose=__doc__,
    deadline_after=timedelta(hours=2),
):
    ReconcileOperator(task_id="reconcile")
