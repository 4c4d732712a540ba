"""Every enquiry becomes a contact with an owner, a task and an answer.

Runs whenever leads are pending. Each run claims a batch and takes it through the steps below; a lead that cannot
go on is quarantined with its reasons, and the others go on. Every task can be retried and cleared: a lead that
went on is not touched again, and an effect that was sent is not sent again.

When it fails: the failed run's leads are put back and claimed by a later run. Nothing needs to be done unless the
same step keeps failing; then mend the step and clear the task.

`lead_reprocess` goes over the same steps for the leads that arrived in a past day; backfill it from Airflow's UI.
"""

from __future__ import annotations

from include.domain.lead_to_client.assignment import assign
from include.domain.lead_to_client.crm import plan_crm
from include.domain.lead_to_client.duplicates import find_duplicates
from include.domain.lead_to_client.mail import plan_mail
from include.domain.lead_to_client.normalise import normalise
from include.domain.lead_to_client.reporting import log, sync_reporting
from include.domain.lead_to_client.segments import segment
from include.domain.lead_to_client.tasks import plan_tasks
from include.domain.lead_to_client.validate import validate
from waybill.dags import CaseSteps, pending, reclaim, reprocess_dag, workflow_dag
from waybill.operators.cases import ClaimCasesOperator

WORKFLOW = "lead_to_client"


def lead_steps(capture: ClaimCasesOperator) -> None:
    """Lay the steps of lead-to-client behind the claim."""
    steps = CaseSteps(capture)
    steps.rule("normalise", normalise)
    steps.rule("validate", validate)
    steps.rule("find_duplicates", find_duplicates)
    steps.effects("update_crm", plan_crm, system="crm")
    steps.rule("segment", segment)
    steps.rule("assign", assign)
    steps.effects("create_tasks", plan_tasks, system="crm")
    steps.effects("send_mail", plan_mail, system="mail")
    steps.rule("sync_reporting", sync_reporting)
    steps.rule("log", log)


with workflow_dag(
    "lead_to_client", WORKFLOW, schedule=pending(WORKFLOW), purpose=__doc__, max_active_runs=2
) as lead_to_client:
    lead_steps(ClaimCasesOperator(workflow=WORKFLOW))

with reprocess_dag("lead_reprocess", WORKFLOW, purpose=__doc__, finished_too=True) as lead_reprocess:
    lead_steps(reclaim(WORKFLOW))
