"""Every purchase request becomes a booked purchase, or is stopped with a reason; one named person has it at any moment.

Runs whenever requests are pending. Each run claims a batch and takes it through the steps below. A request that waits
for people, for goods or for an invoice is no run's: whoever changes what it waits for wakes it, and a later run goes on
from the step where it waited. Every task can be retried and cleared: what went on is not touched again, and an order
that was placed is not placed again.

Approvals are asked in runs of `purchase_decision`, one Airflow run for each round.

When it fails: the failed run's requests are put back and claimed by a later run. Nothing needs to be done unless the
same step keeps failing; then mend the step and clear the task.

`purchase_reprocess` goes over the same steps for what arrived in a past day and was set aside with an error.
"""

from __future__ import annotations

from include.domain.purchase_approval.approve import approve
from include.domain.purchase_approval.budget import check_budget, commit
from include.domain.purchase_approval.close import log
from include.domain.purchase_approval.match import match
from include.domain.purchase_approval.order import plan_order
from include.domain.purchase_approval.read_request import read_request
from include.domain.purchase_approval.receive import receive
from include.domain.purchase_approval.route import route
from include.domain.purchase_approval.send_order import plan_mail
from include.domain.purchase_approval.supplier import look_up_supplier
from include.domain.purchase_approval.validate import validate
from waybill.dags import CaseSteps, pending, reclaim, reprocess_dag, workflow_dag
from waybill.operators.cases import ClaimCasesOperator

WORKFLOW = "purchase_approval"


def purchase_steps(capture: ClaimCasesOperator) -> None:
    """Lay the steps behind the claim."""
    steps = CaseSteps(capture)
    steps.rule("read_request", read_request)
    steps.effects("look_up_supplier", look_up_supplier, system="erp")
    steps.rule("validate", validate)
    steps.rule("check_budget", check_budget)
    steps.rule("route", route)
    steps.approval("approve", approve, decision_dag="purchase_decision")
    steps.rule("commit", commit)
    steps.effects("order", plan_order, system="erp")
    steps.effects("send_order", plan_mail, system="mail")
    steps.rule("receive", receive)
    steps.rule("match", match)
    steps.rule("log", log)


with workflow_dag(
    WORKFLOW, WORKFLOW, schedule=pending(WORKFLOW), purpose=__doc__, max_active_runs=2
) as purchase_approval:
    purchase_steps(ClaimCasesOperator(workflow=WORKFLOW))

with reprocess_dag("purchase_reprocess", WORKFLOW, purpose=__doc__) as purchase_reprocess:
    purchase_steps(reclaim(WORKFLOW))
