"""Enter the rules by which stock is replenished, from a file or from rows pasted into Airflow's form.

CSV with a header line; docs/replenishment.md describes its columns. A rule that is there is replaced; to end one, set
its method to off. Faulty rows are named in the task's log, each with what is wrong, and the others count. With *only
look* nothing is changed. The same file again changes nothing.
"""

from __future__ import annotations

from airflow.sdk import Param

from waybill.dags import workflow_dag
from waybill.operators.replenishment import ImportRulesOperator
from waybill.params import optional

WORKFLOW = "replenishment"
EXAMPLE = "item,location,method,from,requester,minimum,maximum\nBOLT-8,SHOP,min_max,MAIN,olaf.winter,20,100"

with workflow_dag(
    "replenishment_rules",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    params={
        "path": optional("File", "A path on the machine that runs the tasks."),
        "rows": optional("Rows", "Instead of a file: a header line and rows.", format="multiline", examples=[EXAMPLE]),
        "only_look": Param(False, type="boolean", title="Only look", description="Check the rows, and enter nothing."),
    },
):
    ImportRulesOperator(task_id="import_rules")
