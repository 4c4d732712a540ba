"""Decide about two contacts that may be the same person.

A lead that only looks like a known contact goes on as a contact of its own, and the pair is kept for a person to
decide. Merge makes the older contact stand for both; keep apart settles that they are two; both can be undone.
Deciding the same again changes nothing.

The CRM merges its two contacts an hour later, or after WAYBILL_MERGE_GRACE_MINUTES. Until then an undo reaches it in
time. Afterwards there is no way back in the CRM: part them there by hand, and choose "undo merge, parted in the CRM".
"""

from __future__ import annotations

from airflow.sdk import Param

from include.integrations.merges import ACTIONS
from waybill.dags import workflow_dag
from waybill.operators.duplicates import DecideDuplicateOperator

WORKFLOW = "lead_to_client"

with workflow_dag(
    "lead_duplicates",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    params={
        "pair_id": Param(
            1,
            type="integer",
            minimum=1,
            title="Pair",
            description="The id of the pair in the table possible_duplicates.",
        ),
        "decision": Param("keep apart", type="string", enum=list(ACTIONS), title="Decision"),
    },
):
    DecideDuplicateOperator(task_id="decide")
