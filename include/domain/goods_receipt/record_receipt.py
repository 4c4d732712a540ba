"""Steps `check_receipt` and `record_receipt`: does a receipt fit its order, and if so, it counts.

Checking looks, so that what cannot be is set aside early. Recording looks again with the order locked, so that two
receipts at the same instant cannot both take the last place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, cast

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.domain.goods_receipt.admission import Admission, OrderLine, ReceiptLine, admit
from include.domain.goods_receipt.stocked import days_of, items_of, wanted_of

DAMAGED = "goods damaged"
COUNTED = "goods counted"
"""Events: on the receipt's case, and on the case of its purchase."""

_RECEIPTS = """
    select r.case_id, r.order_id, r.kind, r.number_key, l.line, l.order_line, l.item, l.quantity, l.condition,
           l.lot, l.expires_on
    from goods_receipts r join goods_receipt_lines l using (case_id)
    where r.case_id = any(:ids) and r.recorded_at is null order by r.case_id, l.line"""


@dataclass
class _Receipt:
    case_id: int
    order: int
    kind: Literal["delivery", "return"]
    number: str | None
    lines: list[ReceiptLine] = field(default_factory=list)


def check_receipt(work: Work) -> StepResult:
    """Set receipts aside that cannot count: no such order, not its goods, too much of them."""
    result = StepResult(quarantine=_find_orders(work.connection, work.case_ids))
    receipts = _receipts(work.connection, [case for case in work.case_ids if case not in result.quarantine])
    lines = _order_lines(work.connection, receipts)
    recorded = _recorded(work.connection, receipts)
    for receipt in receipts:
        admission = _admit(receipt, lines, recorded)
        if admission.reasons:
            result.quarantine[receipt.case_id] = admission.reasons
    return result


def record_receipt(work: Work) -> StepResult:
    """Count receipts on their orders' lines, in order of arrival; the purchase and what waits for the goods look again.

    A receipt that has counted is not here a second time.
    """
    connection = work.connection
    receipts = _receipts(connection, work.case_ids)
    orders = sorted({receipt.order for receipt in receipts})
    store.lock(connection, orders)
    # an order may have been cancelled since the receipt was checked; with its case held it cannot be from here on
    result = StepResult(quarantine=_find_orders(connection, [receipt.case_id for receipt in receipts]))
    receipts = [receipt for receipt in receipts if receipt.case_id not in result.quarantine]
    lines = _order_lines(connection, receipts, lock=True)
    recorded = _recorded(connection, receipts)
    admitted: dict[int, Admission] = {}
    for receipt in receipts:
        admission = _admit(receipt, lines, recorded)
        if admission.reasons:
            result.quarantine[receipt.case_id] = admission.reasons
        else:
            admitted[receipt.case_id] = admission
    counted = [receipt for receipt in receipts if receipt.case_id in admitted]
    _count(connection, admitted)
    _tell(connection, counted, admitted)
    _wake(connection, sorted({receipt.order for receipt in counted}))
    return result


def _find_orders(connection: Connection, case_ids: Sequence[int]) -> dict[int, list[Reason]]:
    """Note each receipt's order; a return may still come when the order is closed."""
    rows = connection.execute(
        text("""
            with found as (
                select r.case_id, r.order_number, r.kind, o.case_id as order_id, o.state
                from goods_receipts r left join purchase_orders o on o.number = r.order_number
                where r.case_id = any(:ids) and r.recorded_at is null
            ), noted as (
                update goods_receipts r set order_id = found.order_id from found
                where r.case_id = found.case_id and r.order_id is distinct from found.order_id
            )
            select * from found order by case_id"""),
        {"ids": list(case_ids)},
    )
    reasons = {}
    for row in rows:
        if row.order_id is None:
            message = f"There is no order {row.order_number}. Correct the number, or send the goods back and discard."
            reasons[row.case_id] = [Reason("order.unknown", message, "order")]
        elif row.state == "cancelled":
            message = f"The order {row.order_number} was cancelled. Send the goods back, and discard the receipt."
            reasons[row.case_id] = [Reason("order.cancelled", message, "order")]
        elif row.state == "closed" and row.kind == "delivery":
            message = f"The order {row.order_number} is closed; nothing more was expected. Ask whoever requested it."
            reasons[row.case_id] = [Reason("order.closed", message, "order")]
    return reasons


def _receipts(connection: Connection, case_ids: Sequence[int]) -> list[_Receipt]:
    found: dict[int, _Receipt] = {}
    for row in connection.execute(text(_RECEIPTS), {"ids": list(case_ids)}):
        receipt = found.setdefault(row.case_id, _Receipt(row.case_id, row.order_id, row.kind, row.number_key))
        damaged = row.condition == "damaged"
        receipt.lines.append(
            ReceiptLine(row.line, row.order_line, row.item, row.quantity, damaged, row.lot, row.expires_on)
        )
    return list(found.values())


def _order_lines(
    connection: Connection, receipts: Iterable[_Receipt], *, lock: bool = False
) -> dict[int, dict[int, OrderLine]]:
    orders: dict[int, dict[int, OrderLine]] = {}
    rows = connection.execute(
        text(f"""
            select l.order_id, l.line, l.item, l.unit, l.quantity, l.most, l.received, l.returned, o.category
            from purchase_order_lines l join purchase_orders o on o.case_id = l.order_id
            where l.order_id = any(:orders) order by l.order_id, l.line {"for update of l" if lock else ""}"""),
        {"orders": sorted({receipt.order for receipt in receipts})},
    ).all()
    items = items_of(connection, ((row.category, row.item) for row in rows))
    days = days_of(connection, items.values())
    for row in rows:
        item = items.get((row.category, row.item))
        stocked = wanted_of(item, row.unit, days) if item else None
        line = OrderLine(row.line, row.item, row.quantity, row.most, row.received, row.returned, stocked)
        orders.setdefault(row.order_id, {})[row.line] = line
    return orders


def _recorded(connection: Connection, receipts: Iterable[_Receipt]) -> set[tuple[int, str, str]]:
    rows = connection.execute(
        text("""
            select order_id, kind, number_key from goods_receipts
            where order_id = any(:orders) and recorded_at is not null and number_key is not null"""),
        {"orders": sorted({receipt.order for receipt in receipts})},
    )
    return cast(set[tuple[int, str, str]], {tuple(row) for row in rows})


def _admit(receipt: _Receipt, lines: dict[int, dict[int, OrderLine]], recorded: set[tuple[int, str, str]]) -> Admission:
    mark = (receipt.order, receipt.kind, receipt.number or "")
    if receipt.number and mark in recorded:
        message = (
            "This delivery note has counted on the order already. Discard it when it is the same one; when the"
            " warehouse used a number twice, correct the number."
        )
        return Admission(reasons=[Reason("receipt.duplicate", message, "number")])
    admission = admit(receipt.kind, receipt.lines, lines.get(receipt.order, {}))
    if receipt.number and not admission.reasons:
        recorded.add(mark)
    return admission


def _count(connection: Connection, admitted: dict[int, Admission]) -> None:
    rows = [
        {"case_id": case_id, "line": line, "order_line": order_line, "accepted": accepted}
        for case_id, admission in admitted.items()
        for line, (order_line, accepted) in admission.lines.items()
    ]
    connection.execute(
        text("""
            with v as materialized (
                select * from jsonb_to_recordset(:rows)
                as v(case_id bigint, line integer, order_line integer, accepted numeric)
            ), written as (
                update goods_receipt_lines l set order_line = v.order_line, accepted = v.accepted
                from v where l.case_id = v.case_id and l.line = v.line
            ), counts as (
                select r.order_id, v.order_line,
                       coalesce(sum(v.accepted) filter (where r.kind = 'delivery'), 0) as received,
                       coalesce(sum(v.accepted) filter (where r.kind = 'return'), 0) as returned
                from v join goods_receipts r using (case_id) group by r.order_id, v.order_line
            )
            update purchase_order_lines o set received = o.received + c.received, returned = o.returned + c.returned
            from counts c where o.order_id = c.order_id and o.line = c.order_line"""),
        {"rows": Jsonb(rows)},
    )
    connection.execute(
        text("update goods_receipts set recorded_at = now() where case_id = any(:ids)"), {"ids": list(admitted)}
    )


def _tell(connection: Connection, receipts: Sequence[_Receipt], admitted: dict[int, Admission]) -> None:
    damaged = {case_id: found.damaged for case_id, found in admitted.items() if found.damaged}
    store.record_each(
        connection, DAMAGED, {case_id: {"quantity": f"{amount:f}"} for case_id, amount in damaged.items()}
    )
    by_order: dict[int, list[int]] = {}
    for receipt in receipts:
        by_order.setdefault(receipt.order, []).append(receipt.case_id)
    store.record_each(connection, COUNTED, {order: {"receipts": cases} for order, cases in by_order.items()})


def _wake(connection: Connection, orders: Sequence[int]) -> None:
    """Wake the purchases, and the invoices that wait for their goods.

    Whoever decides that an invoice waits holds its purchase's case; we hold that now, so we see all who wait.
    """
    store.wake(connection, [*orders, *waiting_invoices(connection, orders)])


def waiting_invoices(connection: Connection, orders: Sequence[int]) -> list[int]:
    """Return the invoices of some orders that wait for something to happen on them."""
    return list(
        connection.execute(
            text("""
                select cases.id from supplier_invoices join cases on cases.id = case_id
                where order_id = any(:orders) and cases.state = 'waiting' order by cases.id"""),
            {"orders": list(orders)},
        ).scalars()
    )
