"""Enter a stock request: take something out, move it, put it right, write it off, or take it in.

Fill in the form and trigger: the request goes through `stock_request` like one from a scanner, and this run only takes
it in. You are the requester, unless you choose somebody for whom you type it in; both are kept, and neither of you will
be asked to approve it. The first line stands in the form; further lines of the same request go into *More lines*.
Quantities are written as 12 or 0.5; only an adjustment takes away with a minus. What is missing or cannot be right is
told when the request is set aside, under its number; nothing is lost.
"""

from __future__ import annotations

from airflow.sdk import Param

from include.domain.stock_request.entry import FORM
from include.domain.stock_request.kinds import kinds
from include.stock.warehouse import warehouse
from waybill.dags import workflow_dag
from waybill.operators.forms import SubmitFormOperator
from waybill.params import on_behalf, optional

WORKFLOW = "stock_request"
QUANTITY = r"^-?\d{1,11}(\.\d{1,6})?$"
COST = r"^\d{1,11}(\.\d{1,6})?$"
PLACES = {code: place.title for code, place in warehouse().locations.items() if place.kind == "internal"}

with workflow_dag(
    "stock_entry",
    WORKFLOW,
    schedule=None,
    purpose=__doc__,
    max_active_runs=16,
    params={
        "kind": Param(
            "issue",
            type="string",
            enum=list(kinds()),
            values_display={name: kind.title for name, kind in kinds().items()},
            title="What is it?",
            description="Of a count, the quantities are what is there.",
        ),
        "from": optional(
            "From",
            "Where it is taken from, adjusted, written off or counted.",
            enum=[None, *PLACES],
            values_display=PLACES,
        ),
        "to": optional(
            "To", "Where it arrives: of transfers, receipts and returns.", enum=[None, *PLACES], values_display=PLACES
        ),
        "item": optional("Item", "First line: its code.", maxLength=100, section="First line"),
        "quantity": optional(
            "How many?",
            "First line: such as 12 or 0.5; an adjustment takes away with a minus.",
            pattern=QUANTITY,
            section="First line",
        ),
        "unit": optional(
            "Unit", "First line: one of the item's; without it the item's own.", maxLength=50, section="First line"
        ),
        "lot": optional(
            "Lot or serial number",
            "First line: what is on the goods. Of what leaves, a lot may be left out.",
            maxLength=100,
            section="First line",
        ),
        "expires_on": optional("Expires on", "First line: of a lot that is new.", format="date", section="First line"),
        "unit_cost": optional(
            "Cost of one", "First line: of what comes in, where it is known.", pattern=COST, section="First line"
        ),
        "note": optional("Note", "First line.", maxLength=1000, section="First line"),
        "more_lines": Param(
            None,
            type=["null", "array"],
            title="More lines",
            description='Further lines: [{"item": "BOLT-8", "quantity": "5"}]. Write numbers in quotes.',
            items={
                "type": "object",
                "required": ["item", "quantity"],
                "properties": {
                    **{name: {"type": "string"} for name in ("item", "unit", "lot", "note")},
                    "quantity": {"type": "string", "pattern": QUANTITY},
                    "unit_cost": {"type": "string", "pattern": COST},
                    "expires_on": {"type": "string", "format": "date"},
                },
                "additionalProperties": False,
            },
            maxItems=500,
        ),
        "reason": optional(
            "Why?",
            "Adjustments, write-offs and returns to a supplier need a reason; whoever approves reads it.",
            format="multiline",
            maxLength=2000,
        ),
        "reference": optional(
            "Belongs to", "Of a transfer's arrival: the transfer's number, such as ST-12.", maxLength=200
        ),
        "occurred_at": optional("When?", "When it moved or was counted; leave it out for now.", format="date-time"),
        "requester": on_behalf("For whom?"),
    },
):
    SubmitFormOperator(task_id="take_in", form=FORM)
