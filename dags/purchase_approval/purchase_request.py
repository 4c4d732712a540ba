"""Request a purchase.

Fill in the form and trigger: the request goes through `purchase_approval` like one from the portal, and this run only
takes it in. You are the requester, unless you choose somebody for whom you type it in; both are kept, and neither of
you will be asked to approve it. The run's log tells the request's number.

Amounts are written as 1234.50, without separators of thousands. The first line stands in the form; further lines of the
same request go into *More lines*. What is missing or cannot be right is told when the request is set aside, under its
number; nothing is lost.
"""

from __future__ import annotations

from airflow.sdk import Param

from include.approvals.people import people
from include.domain.purchase_approval.entry import FORM
from include.domain.purchasing import purchasing
from waybill.dags import workflow_dag
from waybill.operators.forms import SubmitFormOperator

WORKFLOW = "purchase_approval"
AMOUNT = r"^\d{1,11}(\.\d{1,4})?$"
KNOWN = purchasing()

with workflow_dag(
    "purchase_request",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    max_active_runs=16,
    params={
        "description": Param(
            None,
            type=["null", "string"],
            title="What is it?",
            description="First line: what is to be bought, in words that the supplier understands.",
            maxLength=500,
            section="First line",
        ),
        "item": Param(
            None,
            type=["null", "string"],
            title="Item number",
            description="First line: the supplier's number of the item, where there is one.",
            maxLength=100,
            section="First line",
        ),
        "quantity": Param(
            None,
            type=["null", "string"],
            title="How many?",
            description="First line: the quantity, such as 2 or 1.5.",
            pattern=AMOUNT,
            section="First line",
        ),
        "unit": Param("piece", type="string", title="Unit", description="piece, hour, kg, …", section="First line"),
        "unit_price": Param(
            None,
            type=["null", "string"],
            title="Price of one",
            description="First line: without tax, such as 1234.50.",
            pattern=AMOUNT,
            section="First line",
        ),
        "tax_rate": Param(
            f"{max(KNOWN.taxes)}",
            type="string",
            title="Tax rate",
            description="First line: as a share, 0.19 is 19 %.",
            enum=[f"{rate}" for rate in KNOWN.taxes],
            section="First line",
        ),
        "more_lines": Param(
            None,
            type=["null", "array"],
            title="More lines",
            description='Further lines: [{"description": "Chair", "quantity": "2", "unit_price": "99.00", '
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
        "currency": Param(
            KNOWN.company.currency,
            type="string",
            title="Currency",
            description="Of all prices, three letters; others than ours are converted at the rate of the day.",
            pattern="^[A-Z]{3}$",
            minLength=3,
            maxLength=3,
        ),
        "cost_centre": Param(
            next(iter(KNOWN.cost_centres)),
            type="string",
            title="Cost centre",
            description="Who pays.",
            enum=list(KNOWN.cost_centres),
            values_display={name: f"{name} {centre.name}" for name, centre in KNOWN.cost_centres.items()},
        ),
        "category": Param(
            next(iter(KNOWN.categories)),
            type="string",
            title="Category",
            description="What kind of purchase it is; each cost centre buys some of them.",
            enum=list(KNOWN.categories),
            values_display={name: category.title for name, category in KNOWN.categories.items()},
        ),
        "supplier": Param(
            None,
            type=["null", "string"],
            title="Supplier's number",
            description="Of a supplier whom the ERP has; leave it out for a new one.",
            maxLength=100,
            section="Supplier",
        ),
        "supplier_name": Param(
            None,
            type=["null", "string"],
            title="New supplier",
            description="Name of a supplier whom the ERP does not have; procurement is asked first then.",
            maxLength=200,
            section="Supplier",
        ),
        "supplier_email": Param(
            None,
            type=["null", "string"],
            format="email",
            title="New supplier's address",
            description="Where the order is mailed to.",
            section="Supplier",
        ),
        "supplier_country": Param(
            None,
            type=["null", "string"],
            title="New supplier's country",
            description="Two letters, such as DE.",
            pattern="^[A-Z]{2}$",
            section="Supplier",
        ),
        "needed_by": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Needed by",
            description="The last day on which it is of use.",
        ),
        "justification": Param(
            None,
            type=["null", "string"],
            format="multiline",
            title="Why?",
            description="Whoever approves reads it.",
            maxLength=5000,
        ),
        "attachments": Param(
            None,
            type=["null", "string"],
            format="multiline",
            title="Attachments",
            description="Links to offers and comparisons, one on each line; https://…",
        ),
        "risk": Param(
            None,
            type=["null", "string"],
            enum=[None, "low", "medium", "high"],
            title="Risk",
            description="Leave it out for what is usual in the category.",
        ),
        "total": Param(
            None,
            type=["null", "string"],
            title="Total with tax",
            description="From the offer, to check the lines against; may be left out.",
            pattern=AMOUNT,
        ),
        "requester": Param(
            None,
            type=["null", "string"],
            enum=[None, *(person.id for person in people() if person.decides)],
            values_display={person.id: person.name for person in people()},
            title="For whom?",
            description="Only where you type it in for somebody else.",
        ),
    },
):
    SubmitFormOperator(task_id="take_in", form=FORM)
