"""Plan what is counted each day.

Runs every morning for the day that begins: at each location, what was not counted for as long as its class allows goes
onto sheets, what is due longest first, as much as a day takes. A place whose count something back-dated overtook is due
at once. A location's day is planned once: retried, cleared or run again in Airflow, it hands over nothing more. Past
days can be backfilled: they are planned by what was counted and lies there now, and what stands on an open sheet is not
planned a second time.

The rules are in include/domain/stock_count/counting.yaml.
"""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable

from include.stock.warehouse import warehouse
from waybill.dags import UNTIL, workflow_dag
from waybill.operators.counts import PlanCountsOperator

WORKFLOW = "stock_count"

with workflow_dag(
    "count_plan",
    WORKFLOW,
    schedule=CronDataIntervalTimetable("0 5 * * *", timezone=warehouse().zone.key),
    purpose=__doc__,
):
    PlanCountsOperator(task_id="plan_counts", until="{{ " + UNTIL + ".isoformat() }}")
