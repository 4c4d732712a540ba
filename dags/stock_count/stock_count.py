"""Every count sheet is mailed to the person who counts, and is open until each of its lines is counted.

Runs whenever sheets are pending: when the plan hands them over, and when something on them was counted. A sheet that
waits for its counter is no run's; the count that is entered wakes it. Lines can be counted in several parts and counted
again: the latest count holds, and a difference that was refused leaves its line open. In Airflow, every task can be
retried and cleared: a sheet is mailed once.

`stock_count_reprocess` goes over the same steps for what arrived in a past day and was set aside with an error.
"""

from __future__ import annotations

from include.domain.stock_count.announce import plan_announce
from include.domain.stock_count.await_count import await_count, log
from include.domain.stock_count.read_sheet import read_sheet
from waybill.dags import CaseSteps, pending, reclaim, reprocess_dag, workflow_dag
from waybill.operators.cases import ClaimCasesOperator

WORKFLOW = "stock_count"


def count_steps(capture: ClaimCasesOperator) -> None:
    """Lay the steps behind the claim."""
    steps = CaseSteps(capture)
    steps.rule("read_sheet", read_sheet)
    steps.effects("announce", plan_announce, system="mail")
    steps.rule("await_count", await_count)
    steps.rule("log", log)


with workflow_dag(WORKFLOW, WORKFLOW, schedule=pending(WORKFLOW), purpose=__doc__) as stock_count:
    count_steps(ClaimCasesOperator(workflow=WORKFLOW))

with reprocess_dag("stock_count_reprocess", WORKFLOW, purpose=__doc__) as stock_count_reprocess:
    count_steps(reclaim(WORKFLOW))
