"""What the warehouse receives or sends back is counted on its order, posted in the ERP, and handed over to the stock.

Runs whenever receipts are pending. A receipt that does not fit its order is set aside, and nothing of it is counted;
goods that came damaged are noted, and not accepted. The purchase and the invoices that waited for the goods go on by
themselves. In Airflow, every task can be retried and cleared: a receipt counts once.

`receipt_reprocess` goes over the same steps for what arrived in a past day and was set aside with an error.
"""

from __future__ import annotations

from include.domain.goods_receipt.hand_over import hand_over_receipts
from include.domain.goods_receipt.post_receipt import log, plan_post_receipt
from include.domain.goods_receipt.read_receipt import read_receipt
from include.domain.goods_receipt.record_receipt import check_receipt, record_receipt
from waybill.dags import CaseSteps, pending, reclaim, reprocess_dag, workflow_dag
from waybill.operators.cases import ClaimCasesOperator

WORKFLOW = "goods_receipt"


def receipt_steps(capture: ClaimCasesOperator) -> None:
    """Lay the steps behind the claim."""
    steps = CaseSteps(capture)
    steps.rule("read_receipt", read_receipt)
    steps.rule("check_receipt", check_receipt)
    steps.rule("record_receipt", record_receipt)
    steps.effects("post_receipt", plan_post_receipt, system="erp")
    steps.rule("hand_over", hand_over_receipts)
    steps.rule("log", log)


with workflow_dag(WORKFLOW, WORKFLOW, schedule=pending(WORKFLOW), purpose=__doc__) as goods_receipt:
    receipt_steps(ClaimCasesOperator(workflow=WORKFLOW))

with reprocess_dag("receipt_reprocess", WORKFLOW, purpose=__doc__) as receipt_reprocess:
    receipt_steps(reclaim(WORKFLOW))
