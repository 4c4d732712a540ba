"""Every stock request is posted once, mirrored in the ERP and valued, or is set aside with a reason.

Runs whenever requests are pending. Each run claims a batch and takes it through the steps below. A request that waits
for a decision, for stock or for the arrival of a transfer is no run's: whoever changes what it waits for wakes it, and
a later run goes on from the step where it waited. In Airflow, every task can be retried and cleared: a request moves
once, and the ERP is told once.

Approvals are asked in runs of `stock_decision`, one Airflow run for each round.

`stock_reprocess` goes over the same steps for what arrived in a past day and was set aside with an error.
"""

from __future__ import annotations

from include.domain.stock_request.approve import approve
from include.domain.stock_request.log import log
from include.domain.stock_request.post import post
from include.domain.stock_request.read_request import read_request
from include.domain.stock_request.receive import receive
from include.domain.stock_request.reserve import reserve
from include.domain.stock_request.route import route
from include.domain.stock_request.update_erp import plan_update_erp
from include.domain.stock_request.validate import validate
from include.domain.stock_request.value import value
from waybill.dags import CaseSteps, pending, reclaim, reprocess_dag, workflow_dag
from waybill.operators.cases import ClaimCasesOperator

WORKFLOW = "stock_request"


def stock_steps(capture: ClaimCasesOperator) -> None:
    """Lay the steps behind the claim."""
    steps = CaseSteps(capture)
    steps.rule("read_request", read_request)
    steps.rule("validate", validate)
    steps.rule("route", route)
    steps.rule("reserve", reserve)
    steps.approval("approve", approve, decision_dag="stock_decision")
    steps.rule("post", post)
    steps.effects("update_erp", plan_update_erp, system="erp")
    steps.rule("value", value)
    steps.rule("receive", receive)
    steps.rule("log", log)


with workflow_dag(WORKFLOW, WORKFLOW, schedule=pending(WORKFLOW), purpose=__doc__, max_active_runs=2) as stock_request:
    stock_steps(ClaimCasesOperator(workflow=WORKFLOW))

with reprocess_dag("stock_reprocess", WORKFLOW, purpose=__doc__) as stock_reprocess:
    stock_steps(reclaim(WORKFLOW))
