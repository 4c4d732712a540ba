"""What runs short becomes one purchase request or one transfer, and waits until the goods are there.

Runs whenever needs are pending. The needs are found by `replenishment_plan`; each is asked for once, goes through the
usual approval, and is over when its goods arrived or were refused. In Airflow, every task can be retried and cleared: a
need is asked for once.

`replenishment_reprocess` goes over the same steps for what arose on a past day and was set aside with an error.
"""

from __future__ import annotations

from include.domain.replenishment.await_goods import await_goods, log
from include.domain.replenishment.read_need import read_need
from include.domain.replenishment.request import request
from waybill.dags import CaseSteps, pending, reclaim, reprocess_dag, workflow_dag
from waybill.operators.cases import ClaimCasesOperator

WORKFLOW = "replenishment"


def need_steps(capture: ClaimCasesOperator) -> None:
    """Lay the steps behind the claim."""
    steps = CaseSteps(capture)
    steps.rule("read_need", read_need)
    steps.rule("request", request)
    steps.rule("await_goods", await_goods)
    steps.rule("log", log)


with workflow_dag(WORKFLOW, WORKFLOW, schedule=pending(WORKFLOW), purpose=__doc__) as replenishment:
    need_steps(ClaimCasesOperator(workflow=WORKFLOW))

with reprocess_dag("replenishment_reprocess", WORKFLOW, purpose=__doc__) as replenishment_reprocess:
    need_steps(reclaim(WORKFLOW))
