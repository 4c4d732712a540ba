"""Change a purchase request that is not ordered yet.

Name the request and fill in only what shall be different. What was approved about it is void: it goes through all steps
again, and whoever must decide is asked about the new content. Its requester, whoever typed it in, and procurement may
change it; a request that is ordered already is refused with its order's number.
"""

from __future__ import annotations

from airflow.sdk import Param

from include.domain.purchase_approval.entry import AMOUNT, LINE
from include.domain.purchasing import purchasing
from waybill.dags import workflow_dag
from waybill.operators.purchases import ChangePurchaseOperator
from waybill.params import optional

WORKFLOW = "purchase_approval"
KNOWN = purchasing()

with workflow_dag(
    "purchase_change",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    max_active_runs=16,
    params={
        "request": Param(
            "PR-1",
            type="string",
            title="Request",
            description="Its number, such as PR-12.",
            pattern=r"^(PR-)?\d{1,18}$",
        ),
        "lines": Param(
            None,
            type=["null", "array"],
            title="Lines",
            description='All lines as they shall be: [{"description": "Chair", "quantity": "2", "unit_price": "99.00", '
            '"tax_rate": "0.19"}]. Write numbers in quotes.',
            items=LINE,
            maxItems=200,
        ),
        "total": optional("Total with tax", "To check the lines against; may be left out.", pattern=AMOUNT),
        "currency": optional("Currency", "Three letters.", pattern="^[A-Z]{3}$"),
        "cost_centre": optional(
            "Cost centre",
            enum=[None, *KNOWN.cost_centres],
            values_display={name: f"{name} {centre.name}" for name, centre in KNOWN.cost_centres.items()},
        ),
        "category": optional(
            "Category",
            enum=[None, *KNOWN.categories],
            values_display={name: category.title for name, category in KNOWN.categories.items()},
        ),
        "supplier": optional("Supplier's number", maxLength=100),
        "supplier_name": optional("New supplier", maxLength=200),
        "supplier_email": optional("New supplier's address", format="email"),
        "needed_by": optional("Needed by", format="date"),
        "justification": optional("Why?", format="multiline", maxLength=5000),
        "attachments": optional("Attachments", "One link on each line.", format="multiline"),
        "risk": optional("Risk", enum=[None, "low", "medium", "high"]),
    },
):
    ChangePurchaseOperator(task_id="change")
