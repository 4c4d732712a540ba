"""Tell the owners of cost centres every Monday how their budgets stand and what waits.

Each gets one mail a week, and a message where they have a chat: what each budget has booked, committed and left, which
requests wait for a decision and which are open for long, oldest first, and which invoices do not match. A past week can
be backfilled: it tells what stood at its end, and nobody gets the same week twice.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronDataIntervalTimetable

from waybill.dags import workflow_dag
from waybill.operators.summary import DeliverSummariesOperator, WriteSummariesOperator

WORKFLOW = "purchase_approval"

# A chat or a mail server may be away for a morning.
PATIENT = {"retries": 30, "retry_delay": timedelta(minutes=1), "max_retry_delay": timedelta(minutes=15)}

with workflow_dag(
    "purchase_summary",
    WORKFLOW,
    schedule=CronDataIntervalTimetable("0 6 * * 1", timezone="UTC"),
    purpose=__doc__,
):
    write = WriteSummariesOperator(
        task_id="write_summaries",
        since="{{ data_interval_start.isoformat() }}",
        until="{{ data_interval_end.isoformat() }}",
    )
    write >> [
        DeliverSummariesOperator(task_id=f"tell_by_{system}", system=system, **PATIENT) for system in ("mail", "chat")
    ]
