"""The step `order`: the purchase order in the ERP, and before it a supplier that the ERP does not have yet."""

from __future__ import annotations

from include.cases.model import Work
from include.domain.purchase_approval.orders import Order, as_text, orders
from include.integrations.systems import Effect, Json, Provider


def plan_order(work: Work, erp: Provider) -> list[Effect]:  # noqa: ARG001 - every plan is given its provider
    """Plan one order for each case, exactly as it was approved."""
    effects: list[Effect] = []
    for order in orders(work.connection, work.case_ids):
        if order.head["supplier_state"] == "new":
            effects.append(_effect(work, order, "upsert_supplier", order.head["supplier"], _supplier(order)))
        effects.append(_effect(work, order, "create_purchase_order", order.head["number"], _order(order)))
    return effects


def _effect(work: Work, order: Order, operation: str, target: str, payload: Json) -> Effect:
    return Effect.of(
        work, system="erp", operation=operation, case_id=order.head["case_id"], target=target, payload=payload
    )


def _supplier(order: Order) -> Json:
    head = order.head
    return {
        "key": head["supplier"],
        "name": head["supplier_name"],
        "email": head["supplier_email"],
        "tax_id": None,
        "country": head["supplier_country"],
        "currency": head["currency"],
    }


def _order(order: Order) -> Json:
    head = order.head
    return {
        "key": head["number"],
        "supplier": head["supplier"],
        "supplier_name": head["supplier_name"],
        "currency": head["currency"],
        "date": head["day"].isoformat(),
        "needed_by": head["needed_by"].isoformat() if head["needed_by"] else None,
        "reference": head["request"],
        "lines": [
            {
                "line": line["line"],
                "item": line["item"],
                "description": line["description"],
                "quantity": as_text(line["quantity"]),
                "unit": line["unit"],
                "unit_price": as_text(line["unit_price"]),
                "tax_rate": as_text(line["tax_rate"]),
                "account": line["account"],
                "cost_centre": head["cost_centre"],
            }
            for line in order.lines
        ],
    }
