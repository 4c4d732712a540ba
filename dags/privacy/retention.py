"""Erase every day what the contracts have kept long enough.

Each workflow's contract says under `retention` how long it keeps deliveries, personal data and the details of events;
the time counts from the close of a case, and open cases are never touched. Rows stay, and with them every count: only
what they say about people goes. A contact goes with the last case that needs it, also in the connected CRM.

Triggered with *Dry run* it only counts. A run that fails is gone on with by the next one; a past day can be backfilled,
and finds what was old enough then.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import CronDataIntervalTimetable, Param

from waybill.dags import UNTIL, workflow_dag
from waybill.operators.privacy import ApplyRetentionOperator, EraseInSystemsOperator

with workflow_dag(
    "retention",
    "privacy",
    schedule=CronDataIntervalTimetable("0 3 * * *", timezone="UTC"),
    purpose=__doc__,
    params={"dry_run": Param(False, type="boolean", title="Dry run", description="Only count what is old enough.")},
):
    ApplyRetentionOperator(
        task_id="apply_retention",
        until="{{ " + UNTIL + ".isoformat() }}",
        execution_timeout=timedelta(hours=3),
    ) >> EraseInSystemsOperator(task_id="erase_in_systems")
