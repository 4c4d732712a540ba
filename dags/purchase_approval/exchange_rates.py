"""Load the European Central Bank's reference rates of each day.

Runs after the bank has published, by the connection `waybill_rates` (type HTTP, host `https://www.ecb.europa.eu`);
without that connection it is skipped. A day that was missed is made up for by the next run. Past days can be
backfilled, and loading a day again changes nothing. What waits for a rate is released once it is there: docs/money.md.
"""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable

from waybill.dags import workflow_dag
from waybill.operators.rates import LoadRatesOperator

WORKFLOW = "purchase_approval"

with workflow_dag(
    "exchange_rates",
    WORKFLOW,
    schedule=CronDataIntervalTimetable("0 17 * * *", timezone="UTC"),
    purpose=__doc__,
):
    LoadRatesOperator(
        task_id="load_rates",
        since="{{ data_interval_start.strftime('%Y-%m-%d') }}",
        until="{{ data_interval_end.strftime('%Y-%m-%d') }}",
    )
