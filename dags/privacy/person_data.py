"""Export or erase everything that is known of one person, on their request.

Name the person by one of their cases, or by their e-mail address. Prefer the case: what is typed here stays in
Airflow's list of runs. It is a dry run unless told otherwise: the log then lists how many values each table holds, and
what would stand in the way. An export is written to a private file in the folder `people` of the exports. An erasure
takes every personal value away in one transaction, closes the person's open cases, and tells the connected CRM; it
cannot be undone. The log names the runs into whose forms the person was typed: they are deleted, this one after a day.
docs/personal-data.md says what stays and why.

When it fails, nothing was erased; the message says what to do. Triggering it again does nothing twice.
"""

from __future__ import annotations

from airflow.sdk import Param

from waybill.dags import workflow_dag
from waybill.operators.privacy import EraseInSystemsOperator, PersonDataOperator

with workflow_dag(
    "person_data",
    "privacy",
    schedule=None,
    purpose=__doc__,
    params={
        "dry_run": Param(True, type="boolean", title="Dry run", description="Only count what each table holds."),
        "action": Param(
            "export", type="string", enum=["export", "erase"], title="Action",
            description="Export writes a file; erase takes everything away, for good.",
        ),
        "case_id": Param(
            None, type=["null", "integer"], minimum=1, title="Case",
            description="The number of one of the person's cases.",
        ),
        "email": Param(
            None, type=["null", "string"], maxLength=320, title="E-mail address",
            description="Instead of a case. It stays in Airflow's list of runs, so prefer the case.",
        ),
        "reason": Param(
            None, type=["null", "string"], maxLength=200, title="Reason of an erasure",
            description="By which letter or ticket it was asked for. Kept for good; write no names.",
        ),
    },
):  # fmt: skip
    PersonDataOperator(task_id="handle_request") >> EraseInSystemsOperator(task_id="erase_in_systems")
