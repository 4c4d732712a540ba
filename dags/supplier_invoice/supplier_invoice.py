"""What suppliers invoice is compared with order and receipt, line by line, and what matches is booked.

Runs whenever invoices are pending. An invoice that comes before its goods waits for whoever requested them, and goes
on by itself when they come. What differs is set aside for accounts payable; `invoice_resolve` corrects or accepts it.
In Airflow, every task can be retried and cleared: an invoice counts once, and is booked once.

`journal_export` writes what was booked to a file for accounting.

`invoice_reprocess` goes over the same steps for what arrived in a past day and was set aside with an error.
"""

from __future__ import annotations

from include.domain.supplier_invoice.book import log, plan_book
from include.domain.supplier_invoice.find_order import find_order
from include.domain.supplier_invoice.match import match
from include.domain.supplier_invoice.read_invoice import read_invoice
from waybill.dags import CaseSteps, pending, reclaim, reprocess_dag, workflow_dag
from waybill.operators.cases import ClaimCasesOperator

WORKFLOW = "supplier_invoice"


def invoice_steps(capture: ClaimCasesOperator) -> None:
    """Lay the steps behind the claim."""
    steps = CaseSteps(capture)
    steps.rule("read_invoice", read_invoice)
    steps.rule("find_order", find_order)
    steps.rule("match", match)
    steps.effects("book", plan_book, system="erp")
    steps.rule("log", log)


with workflow_dag(WORKFLOW, WORKFLOW, schedule=pending(WORKFLOW), purpose=__doc__) as supplier_invoice:
    invoice_steps(ClaimCasesOperator(workflow=WORKFLOW))

with reprocess_dag("invoice_reprocess", WORKFLOW, purpose=__doc__) as invoice_reprocess:
    invoice_steps(reclaim(WORKFLOW))
