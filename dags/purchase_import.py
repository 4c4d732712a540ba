"""Import purchase requests from a file, or from rows pasted into the form.

CSV with a header line (requester, cost_centre, category, supplier, currency, description, quantity, unit_price,
tax_rate, …), NDJSON or a JSON array. Each row of a CSV becomes a request of one line and goes through
`purchase_approval` like any other; requests of several lines come as JSON. Importing the same file again adds nothing;
rows that cannot be read are named in the task's log.
"""

from __future__ import annotations

from airflow.sdk import Param

from waybill.dags import workflow_dag
from waybill.operators.imports import ImportRowsOperator

WORKFLOW = "purchase_approval"

with workflow_dag(
    "purchase_import",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    params={
        "source": Param(
            "purchase-import", type="string", title="Source", description="A source of include/intake/sources.yaml."
        ),
        "path": Param(
            None, type=["null", "string"], title="File", description="A path on the machine that runs the tasks."
        ),
        "rows": Param(
            None,
            type=["null", "string"],
            format="multiline",
            title="Rows",
            description="Instead of a file: a header line and rows, or one JSON object on each line.",
        ),
    },
):
    ImportRowsOperator(task_id="import_rows")
