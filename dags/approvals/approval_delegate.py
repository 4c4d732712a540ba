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

WORKFLOW = "approvals"
NAMES = {person.id: person.name for person in people() if person.decides}

with workflow_dag(
    "approval_delegate",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    max_active_runs=16,
    params={
        "deputy": Param(
            None,
            type=["null", "string"],
            enum=[None, *NAMES],
            values_display=NAMES,
            title="Deputy",
            description="Who decides instead.",
        ),
        "starts": Param(
            None, type=["null", "string"], format="date", title="First day", description="Left out: from today on."
        ),
        "ends": Param(
            None, type=["null", "string"], format="date", title="Last day", description="The last day of being away."
        ),
        "reason": Param(
            None,
            type=["null", "string"],
            maxLength=200,
            title="Why?",
            description="Such as «on leave»; it stays beside every decision that is made by it.",
        ),
        "person": Param(
            None,
            type=["null", "string"],
            enum=[None, *NAMES],
            values_display=NAMES,
            title="For whom?",
            description="Only where you enter it as the manager of somebody who cannot.",
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
