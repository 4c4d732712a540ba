"""Classify the items every month: A, B or C by the value of what was consumed of them.

The few items that make up the first 80 % of a year's consumption value are A, those up to 95 % B, and the rest C; the
shares and the months are in include/domain/stock_count/counting.yaml. Cycle counts follow the class. In Airflow a past
month can be backfilled; one that is older than what was classified last changes nothing.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronDataIntervalTimetable

from waybill.dags import UNTIL, workflow_dag
from waybill.operators.counts import ClassifyItemsOperator

WORKFLOW = "stock_count"

with workflow_dag(
    "stock_classes",
    WORKFLOW,
    schedule=CronDataIntervalTimetable("0 3 1 * *", timezone="UTC"),
    purpose=__doc__,
    deadline_after=timedelta(hours=2),
):
    ClassifyItemsOperator(task_id="classify", until="{{ " + UNTIL + ".isoformat() }}")
