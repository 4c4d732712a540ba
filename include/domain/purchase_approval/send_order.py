"""The step `send_order`: the order by mail, as PDF, to suppliers who want it so.

Plans effects only. Sending is at most once, as the contract declares; the ERP has the order in any case.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from include.cases.model import Work
from include.domain.letters import stationery
from include.domain.purchase_approval.document import pdf
from include.domain.purchase_approval.orders import Order, orders
from include.domain.purchasing import purchasing
from include.integrations.systems import Effect, Json, Provider


def plan_mail(work: Work, mail: Provider) -> list[Effect]:  # noqa: ARG001 - every plan is given its provider
    """Plan one mail for each order whose supplier wants it by mail."""
    return [
        Effect.of(
            work,
            system="mail",
            operation="send_mail",
            case_id=order.head["case_id"],
            target=order.head["number"],
            payload=_mail(order),
        )
        for order in orders(work.connection, work.case_ids)
        if by_mail(order.head)
    ]


def by_mail(head: Mapping[str, Any]) -> bool:
    """Whether a supplier gets the order by mail: as the ERP says; a new one hears of it in no other way."""
    if not head["supplier_email"]:
        return False
    record = head["supplier_record"]
    return record is None or bool(record.get("orders_by_mail"))


def _mail(order: Order) -> Json:
    head, company = order.head, purchasing().company
    number = head["number"]
    text = (
        f"Dear Sir or Madam,\n\nplease find our purchase order {number} attached. Write this number on your delivery "
        f"note and on your invoice.\n\nKind regards\n{company.name}\n{company.address}\n"
    )
    return {
        "to": head["supplier_email"],
        "from": stationery().sender,
        "subject": f"Purchase order {number} of {company.name}",
        "text": text,
        "headers": {"Reply-To": company.email, "Auto-Submitted": "auto-generated"},
        "attachments": [
            {
                "filename": f"{number}.pdf",
                "content_type": "application/pdf",
                "base64": base64.b64encode(pdf(order)).decode("ascii"),
            }
        ],
    }
