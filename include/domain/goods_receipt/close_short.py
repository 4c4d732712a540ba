"""Closing a line of an order short: no more of it is expected, whatever was ordered.

A person's decision; the purchase and the invoices that wait for the goods look again.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, text

from include.cases import store
from include.domain.goods_receipt.record_receipt import waiting_invoices

CLOSED_SHORT = "line closed short"


class CloseRefused(ValueError):
    """The line cannot be closed short; the message says why."""


@dataclass(frozen=True)
class ClosedShort:
    """What came of it.

    :param case_id: the purchase's case.
    :param missing: the quantity that is not expected any more.
    :param changed: False when it was closed short before.
    """

    case_id: int
    missing: Decimal
    changed: bool


def close_short(connection: Connection, *, order: str, line: int, reason: str) -> ClosedShort:
    """Close a line of an order short, once; call it in an authored transaction.

    :raises CloseRefused: when there is no such line, nothing is missing of it, or there is no reason.
    """
    if not reason.strip():
        raise CloseRefused("a line is closed short with a reason: say why no more is expected")
    number = "".join(order.split()).upper()
    case_id = connection.execute(
        text("select case_id from purchase_orders where number = :number and state = 'open'"), {"number": number}
    ).scalar()
    if case_id is None:
        raise CloseRefused(f"there is no open order {number}")
    store.lock(connection, [case_id])
    found = connection.execute(
        text("""
            select quantity - received + returned as missing, short_closed from purchase_order_lines
            where order_id = :id and line = :line for update"""),
        {"id": case_id, "line": line},
    ).first()
    if found is None:
        raise CloseRefused(f"the order {number} has no line {line}")
    if found.short_closed:
        return ClosedShort(case_id, found.missing, False)
    if found.missing <= 0:
        raise CloseRefused(f"nothing is missing of line {line} of the order {number}")
    connection.execute(
        text("update purchase_order_lines set short_closed = true where order_id = :id and line = :line"),
        {"id": case_id, "line": line},
    )
    detail = {"line": line, "missing": f"{found.missing:f}", "reason": reason.strip()[:200]}
    store.record(connection, CLOSED_SHORT, [case_id], detail)
    store.wake(connection, [case_id, *waiting_invoices(connection, [case_id])])
    return ClosedShort(case_id, found.missing, True)
