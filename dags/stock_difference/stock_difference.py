"""Places where the stock is not what the ERP says, from their discovery to what was decided.

Runs whenever `stock_reconcile` has handed over differences, or a keeper has decided about one. Each is compared once
more; what is gone is closed. With the rest it waits for the keeper of the place. What they decide is booked in the ERP,
or asked for as an adjustment of the stock. In Airflow, every task can be retried and cleared: nothing is booked twice.
"""

from __future__ import annotations

from include.domain.stock_difference.book import hand_over_adjustments, log, plan_book
from include.domain.stock_difference.decide import decide
from include.domain.stock_difference.read_difference import plan_look, read_difference
from waybill.dags import CaseSteps, pending, workflow_dag
from waybill.operators.cases import ClaimCasesOperator

WORKFLOW = "stock_difference"

with workflow_dag(WORKFLOW, WORKFLOW, schedule=pending(WORKFLOW), purpose=__doc__):
    steps = CaseSteps(ClaimCasesOperator(workflow=WORKFLOW))
    steps.rule("read_difference", read_difference)
    steps.effects("look", plan_look, system="erp")
    steps.rule("decide", decide)
    steps.effects("book", plan_book, system="erp")
    steps.rule("hand_over", hand_over_adjustments)
    steps.rule("log", log)
