"""The step `request`: a need becomes one purchase request, or one request for a transfer.

Both are handed over; who has to approve them is their workflow's to say. The key is the need's number, so that a need
is asked for once, however often this step runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from sqlalchemy import text

from include.cases.model import Work
from include.domain.replenishment.plan import plain
from include.intake.handoffs import Handoff, hand_over
from include.stock.warehouse import warehouse

PURCHASE, TRANSFER = "replenishment", "replenishment-transfer"
"""The sources of the two workflows that a need can go to."""

_NEEDS = """
    select n.id, n.case_id, n.on_day, n.quantity, n.figures, n.terms, n.opened_at
    from replenishment_needs n where n.case_id = any(:ids) and n.terms is not null order by n.case_id"""


def request(work: Work) -> None:
    """Hand each need over to the workflow that its terms name, once."""
    bought: list[Handoff] = []
    fetched: list[Handoff] = []
    for need in work.connection.execute(text(_NEEDS), work.values):
        by_purchase = need.terms["from_location"] is None
        document = _purchase(need) if by_purchase else _transfer(need)
        (bought if by_purchase else fetched).append(Handoff(str(need.id), document, need.case_id))
    for source, handoffs in ((PURCHASE, bought), (TRANSFER, fetched)):
        if handoffs:
            hand_over(work.connection, source, handoffs)


def _purchase(need: Any) -> dict[str, Any]:
    terms, opened = need.terms, need.opened_at
    number = f" (the supplier's {terms['supplier_item']})" if terms["supplier_item"] else ""
    return {
        "number": f"RN-{need.id}",
        "requester": terms["requester"],
        "cost_centre": terms["cost_centre"],
        "category": terms["category"],
        "supplier": terms["supplier"],
        "currency": terms["currency"],
        "requested_at": opened.isoformat(),
        "needed_by": _needed_by(warehouse().day_of(opened), need.figures).isoformat(),
        "justification": justification(need),
        "lines": [
            {
                "item": terms["item"],
                "description": f"{terms['title']}{number}",
                "quantity": plain(need.quantity),
                "unit": terms["unit"],
                "unit_price": plain(terms["unit_price"]),
                "tax_rate": plain(terms["tax_rate"]),
            }
        ],
    }


def _transfer(need: Any) -> dict[str, Any]:
    terms = need.terms
    return {
        "number": f"RN-{need.id}",
        "kind": "transfer",
        "requester": terms["requester"],
        "from": terms["from_location"],
        "to": terms["location"],
        "reason": justification(need),
        "reference": f"RN-{need.id}",
        "lines": [
            {
                "item": terms["item"],
                "description": terms["title"],
                "quantity": plain(need.quantity),
                "unit": terms["unit"],
            }
        ],
    }


def _needed_by(opened: date, figures: Mapping[str, Any]) -> date:
    return opened + timedelta(days=math.ceil(figures["lead_time_mean"]))


def justification(need: Any) -> str:
    """Tell whoever decides why it is needed, with the figures."""
    told, terms, unit = need.figures, need.terms, need.terms["unit"]
    stock = (
        f"{told['on_hand']} on hand, {told['reserved']} of it reserved, {told['on_order']} on order,"
        f" {told['being_put_away']} received and not put away, {told['under_way']} under way,"
        f" {told['back_ordered']} back-ordered, {told['asked_by_others']} asked for by other places"
    )
    lines = [
        f"{terms['item']} at {terms['location']} runs short: the position of {told['position']} {unit} is at or below"
        f" the reorder point of {told['reorder_point']} {unit} (plan of {need.on_day}).",
        f"Position: {stock}.",
        f"Demand: {told['demand_mean']:.3g} a day, standard deviation {told['demand_sd']:.3g}, over"
        f" {told['days_counted']:g} days. Lead time: {told['lead_time_mean']:g} days ({told['lead_time_from']}),"
        f" standard deviation {told['lead_time_sd']:g}.",
        f"Safety stock {told['safety_stock']:.4g} at a service level of {float(told['service_level']):.2%}; filled up"
        f" to {told['order_up_to']}: {plain(need.quantity)} {unit}.",
    ]
    return "\n".join(lines)
