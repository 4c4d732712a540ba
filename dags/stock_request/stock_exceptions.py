"""Tell every working day what is out of order in the stock, and who has to look at it.

What was asked for and not there, stock below zero, goods long under way, stale reservations, lots that expire, dead
stock, differences from the ERP, overdue counts, items without a rule or a cost. The page with plots is *Browse, Stock
exceptions* in Airflow; the digest goes to the warehouse's channel. The report tells of the moment at which it runs: the
same day again renews the page, and is told once. A past day keeps what was told on it.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronTriggerTimetable

from waybill.dags import workflow_dag
from waybill.operators.stock_exceptions import ReportStockExceptionsOperator, TellStockExceptionsOperator

WORKFLOW = "stock_request"

# A chat may be away for a morning.
PATIENT = {"retries": 30, "retry_delay": timedelta(minutes=1), "max_retry_delay": timedelta(minutes=15)}

with workflow_dag(
    "stock_exceptions",
    WORKFLOW,
    schedule=CronTriggerTimetable("0 6 * * 1-5", timezone="UTC"),
    purpose=__doc__,
):
    ReportStockExceptionsOperator(
        task_id="report", at="{{ dag_run.run_after.isoformat() }}"
    ) >> TellStockExceptionsOperator(task_id="tell", **PATIENT)
