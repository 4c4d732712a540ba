"""Write each day's journal to a file for accounting.

One file a day, in the folder WAYBILL_EXPORT_FOLDER (by default `exports` in Waybill's home); docs/journal.md describes
its format. A file is written whole or not at all. Past days can be backfilled: the same day gives the same file.
"""

from __future__ import annotations

from airflow.sdk import CronDataIntervalTimetable

from include.stock.warehouse import warehouse
from waybill.dags import workflow_dag
from waybill.operators.journal import ExportJournalOperator

WORKFLOW = "supplier_invoice"

with workflow_dag(
    "journal_export",
    WORKFLOW,
    schedule=CronDataIntervalTimetable("0 0 * * *", timezone=warehouse().zone_name),
    purpose=__doc__,
):
    ExportJournalOperator(
        task_id="export_journal",
        since="{{ data_interval_start.isoformat() }}",
        until="{{ data_interval_end.isoformat() }}",
    )
