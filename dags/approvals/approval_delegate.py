"""Say who decides for you while you are away, or end that early.

A deputy decides as you would, and their name stays beside the decision; never about their own requests. You enter it
for yourself; the manager of somebody who is ill may enter it for them. Entering the same again changes nothing. What
was decided by a delegation that is ended stands.
"""

from __future__ import annotations

from airflow.sdk import Param

from include.approvals.people import people
from waybill.dags import workflow_dag
from waybill.operators.delegations import DelegateOperator
from waybill.params import optional

WORKFLOW = "approvals"
NAMES = {person.id: person.name for person in people() if person.decides}

with workflow_dag(
    "approval_delegate",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    max_active_runs=16,
    params={
        "deputy": optional("Deputy", "Who decides instead.", enum=[None, *NAMES], values_display=NAMES),
        "starts": optional("First day", "Left out: from today on.", format="date"),
        "ends": optional("Last day", "The last day of being away.", format="date"),
        "reason": optional(
            "Why?", "Such as «on leave»; it stays beside every decision that is made by it.", maxLength=200
        ),
        "person": optional(
            "For whom?",
            "Only where you enter it as the manager of somebody who cannot.",
            enum=[None, *NAMES],
            values_display=NAMES,
        ),
        "end": Param(
            None,
            type=["null", "integer"],
            minimum=1,
            title="End a delegation",
            description="Its number, to end it now; then all other fields do not count.",
        ),
    },
):
    DelegateOperator(task_id="delegate")
