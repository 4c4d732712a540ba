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

from include.domain.purchase_approval.entry import AMOUNT, FORM, LINE
from include.domain.purchasing import purchasing
from waybill.dags import workflow_dag
from waybill.operators.forms import SubmitFormOperator
from waybill.params import on_behalf, optional

WORKFLOW = "purchase_approval"
KNOWN = purchasing()

with workflow_dag(
    "purchase_request",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    max_active_runs=16,
    params={
        "description": optional(
            "What is it?",
            "First line: what is to be bought, in words that the supplier understands.",
            maxLength=500,
            section="First line",
        ),
        "item": optional(
            "Item number",
            "First line: the supplier's number of the item, where there is one.",
            maxLength=100,
            section="First line",
        ),
        "quantity": optional(
            "How many?", "First line: the quantity, such as 2 or 1.5.", pattern=AMOUNT, section="First line"
        ),
        "unit": Param("piece", type="string", title="Unit", description="piece, hour, kg, …", section="First line"),
        "unit_price": optional(
            "Price of one", "First line: without tax, such as 1234.50.", pattern=AMOUNT, section="First line"
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
            items=LINE,
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
        "supplier": optional(
            "Supplier's number",
            "Of a supplier whom the ERP has; leave it out for a new one.",
            maxLength=100,
            section="Supplier",
        ),
        "supplier_name": optional(
            "New supplier",
            "Name of a supplier whom the ERP does not have; procurement is asked first then.",
            maxLength=200,
            section="Supplier",
        ),
        "supplier_email": optional(
            "New supplier's address", "Where the order is mailed to.", format="email", section="Supplier"
        ),
        "supplier_country": optional(
            "New supplier's country", "Two letters, such as DE.", pattern="^[A-Z]{2}$", section="Supplier"
        ),
        "needed_by": optional("Needed by", "The last day on which it is of use.", format="date"),
        "justification": optional("Why?", "Whoever approves reads it.", format="multiline", maxLength=5000),
        "attachments": optional(
            "Attachments", "Links to offers and comparisons, one on each line; https://…", format="multiline"
        ),
        "risk": optional(
            "Risk", "Leave it out for what is usual in the category.", enum=[None, "low", "medium", "high"]
        ),
        "total": optional(
            "Total with tax", "From the offer, to check the lines against; may be left out.", pattern=AMOUNT
        ),
        "requester": on_behalf("For whom?"),
    },
):
    SubmitFormOperator(task_id="take_in", form=FORM)
