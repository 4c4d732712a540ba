"""Look every night at what runs short, and open a need for it.

For every item and place with a rule: demand and lead time from history, safety stock and reorder point by the formula
in docs/replenishment.md, and what is there, reserved, ordered and under way. While a need of a place is open there is
no second one, whatever is planned how often. A past day can be backfilled in Airflow: it takes the history up to that
day's end, and the stock of now, so it asks for nothing that is there or ordered meanwhile.
"""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable

from include.stock.warehouse import warehouse
from waybill.dags import UNTIL, workflow_dag
from waybill.operators.replenishment import PlanReplenishmentOperator

WORKFLOW = "replenishment"

with workflow_dag(
    "replenishment_plan",
    WORKFLOW,
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=warehouse().zone_name),
    purpose=__doc__,
):
    PlanReplenishmentOperator(task_id="plan", until="{{ " + UNTIL + ".isoformat() }}")
