"""Enter a stock request: take something out, move it, put it right, write it off, or take it in.

Fill in the form and trigger: the request goes through `stock_request` like one from a scanner, and this run only takes
it in. You are the requester, unless you choose somebody for whom you type it in; both are kept, and neither of you will
be asked to approve it. The first line stands in the form; further lines of the same request go into *More lines*.
Quantities are written as 12 or 0.5; only an adjustment takes away with a minus. What is missing or cannot be right is
told when the request is set aside, under its number; nothing is lost.
"""

from __future__ import annotations

from airflow.sdk import Param

from include.approvals.people import people
from include.domain.stock_request.entry import FORM
from include.domain.stock_request.kinds import kinds
from include.stock.warehouse import warehouse
from waybill.dags import workflow_dag
from waybill.operators.forms import SubmitFormOperator

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
        "from": Param(
            None,
            type=["null", "string"],
            enum=[None, *PLACES],
            values_display=PLACES,
            title="From",
            description="Where it is taken from, adjusted, written off or counted.",
        ),
        "to": Param(
            None,
            type=["null", "string"],
            enum=[None, *PLACES],
            values_display=PLACES,
            title="To",
            description="Where it arrives: of transfers, receipts and returns.",
        ),
        "item": Param(
            None,
            type=["null", "string"],
            title="Item",
            description="First line: its code.",
            maxLength=100,
            section="First line",
        ),
        "quantity": Param(
            None,
            type=["null", "string"],
            title="How many?",
            description="First line: such as 12 or 0.5; an adjustment takes away with a minus.",
            pattern=QUANTITY,
            section="First line",
        ),
        "unit": Param(
            None,
            type=["null", "string"],
            title="Unit",
            description="First line: one of the item's; without it the item's own.",
            maxLength=50,
            section="First line",
        ),
        "lot": Param(
            None,
            type=["null", "string"],
            title="Lot or serial number",
            description="First line: what is on the goods. Of what leaves, a lot may be left out.",
            maxLength=100,
            section="First line",
        ),
        "expires_on": Param(
            None,
            type=["null", "string"],
            format="date",
            title="Expires on",
            description="First line: of a lot that is new.",
            section="First line",
        ),
        "unit_cost": Param(
            None,
            type=["null", "string"],
            title="Cost of one",
            description="First line: of what comes in, where it is known.",
            pattern=COST,
            section="First line",
        ),
        "note": Param(
            None,
            type=["null", "string"],
            title="Note",
            description="First line.",
            maxLength=1000,
            section="First line",
        ),
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
        "reason": Param(
            None,
            type=["null", "string"],
            format="multiline",
            title="Why?",
            description="Adjustments, write-offs and returns to a supplier need a reason; whoever approves reads it.",
            maxLength=2000,
        ),
        "reference": Param(
            None,
            type=["null", "string"],
            title="Belongs to",
            description="Of a transfer's arrival: the transfer's number, such as ST-12.",
            maxLength=200,
        ),
        "occurred_at": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="When?",
            description="When it moved or was counted; leave it out for now.",
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
