"""Change a purchase request that is not ordered yet.

Name the request and fill in only what shall be different. What was approved about it is void: it goes through all steps
again, and whoever must decide is asked about the new content. Its requester, whoever typed it in, and procurement may
change it; a request that is ordered already is refused with its order's number.
"""

from __future__ import annotations

from airflow.sdk import Param

from include.domain.purchasing import purchasing
from waybill.dags import workflow_dag
from waybill.operators.purchases import ChangePurchaseOperator

WORKFLOW = "purchase_approval"
AMOUNT = r"^\d{1,11}(\.\d{1,4})?$"
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
            items={
                "type": "object",
                "required": ["quantity", "unit_price"],
                "properties": {
                    **{name: {"type": "string"} for name in ("description", "item", "unit", "tax_rate", "account")},
                    **{name: {"type": "string", "pattern": AMOUNT} for name in ("quantity", "unit_price")},
                },
                "additionalProperties": False,
            },
            maxItems=200,
        ),
        "total": Param(
            None,
            type=["null", "string"],
            title="Total with tax",
            description="To check the lines against; may be left out.",
            pattern=AMOUNT,
        ),
        "currency": Param(
            None, type=["null", "string"], title="Currency", description="Three letters.", pattern="^[A-Z]{3}$"
        ),
        "cost_centre": Param(
            None,
            type=["null", "string"],
            enum=[None, *KNOWN.cost_centres],
            values_display={name: f"{name} {centre.name}" for name, centre in KNOWN.cost_centres.items()},
            title="Cost centre",
        ),
        "category": Param(
            None,
            type=["null", "string"],
            enum=[None, *KNOWN.categories],
            values_display={name: category.title for name, category in KNOWN.categories.items()},
            title="Category",
        ),
        "supplier": Param(None, type=["null", "string"], title="Supplier's number", maxLength=100),
        "supplier_name": Param(None, type=["null", "string"], title="New supplier", maxLength=200),
        "supplier_email": Param(None, type=["null", "string"], format="email", title="New supplier's address"),
        "needed_by": Param(None, type=["null", "string"], format="date", title="Needed by"),
        "justification": Param(None, type=["null", "string"], format="multiline", title="Why?", maxLength=5000),
        "attachments": Param(
            None, type=["null", "string"], format="multiline", title="Attachments", description="One link on each line."
        ),
        "risk": Param(None, type=["null", "string"], enum=[None, "low", "medium", "high"], title="Risk"),
    },
):
    ChangePurchaseOperator(task_id="change")
