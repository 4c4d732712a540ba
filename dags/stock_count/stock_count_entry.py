"""Enter what was counted.

Paste the lines and trigger: in Airflow this becomes a stock request of kind count, which compares each line with the
books as of the moment of counting, whatever was sold since, and asks for approval of the differences where the policy
wants it. You are the counter, unless you choose somebody whose count you type in; the counter must be somebody who may
post at the location. The run's log tells which lines of the sheet are still open, and never what the books hold.

A line is an item, its lot or serial number where it has one, and what was counted: 0 where nothing is there. The file
that came with the sheet has these columns. Count in as many parts as you like; count again what you doubt.
"""

from __future__ import annotations

from include.stock.warehouse import warehouse
from waybill.dags import workflow_dag
from waybill.operators.counts import EnterCountOperator
from waybill.params import on_behalf, optional

WORKFLOW = "stock_count"
INTERNAL = {code: location.title for code, location in warehouse().locations.items() if location.kind == "internal"}

with workflow_dag(
    "stock_count_entry",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    max_active_runs=16,
    params={
        "sheet": optional(
            "Sheet",
            "The count sheet's number, such as CS-20260131-MAIN-1; without one it is a count of your own.",
            maxLength=100,
        ),
        "location": optional(
            "Location", "Only without a sheet: where you counted.", enum=[None, *INTERNAL], values_display=INTERNAL
        ),
        "counted_at": optional(
            "When was it counted?", "The books are compared with as of this moment.", format="date-time"
        ),
        "lines": optional(
            "What was counted",
            'A header line and rows: item,lot,counted,unit,note. Or JSON: [{"item": "BOLT-8", "counted": "120"}].',
            format="multiline",
            maxLength=200_000,
        ),
        "note": optional("Note", "Whoever approves a difference reads it.", maxLength=500),
        "counter": on_behalf("Who counted?"),
    },
):
    EnterCountOperator(task_id="take_in")
