"""The step `find_order`: which order an invoice is for, and whether its supplier's number came before.

A number belongs to whoever comes first, also when two come at the same instant; discarding that case frees it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from include.cases.model import Reason, StepResult, Work
from include.data.normalise.text import fold

_FOUND = """
    select i.case_id, i.supplier, i.supplier_name, i.number, i.currency, i.order_number, i.corrects, i.matched_at,
           o.case_id as order_id, o.number as found_number, o.supplier as order_supplier,
           o.supplier_name as order_supplier_name, o.currency as order_currency, o.state
    from supplier_invoices i
    left join purchase_orders o on o.number = coalesce(i.order_number, (
        -- a credit note that names no order is for the order of the invoice that it corrects
        select c.order_number from supplier_invoices c
        where c.number_key = i.corrects_key and c.supplier = i.supplier and c.matched_at is not null limit 1))
    where i.case_id = any(:ids) order by i.case_id"""


def find_order(work: Work) -> StepResult:
    """Note each invoice's order and claim its number; what belongs to no order, or came before, is set aside."""
    result = StepResult()
    rows = [row for row in work.connection.execute(text(_FOUND), work.values) if row.matched_at is None]
    good = []
    for row in rows:
        if reasons := _reasons(row):
            result.quarantine[row.case_id] = reasons
        else:
            good.append(row)
    _note(work.connection, good)
    for case_id, holder in _claim_numbers(work.connection, [row.case_id for row in good]).items():
        result.quarantine[case_id] = [
            Reason(
                "invoice.duplicate",
                f"The supplier's invoice of this number is case {holder}. Discard this one when it is the same; when it"
                " replaces the other, discard that one first, and then release this one.",
                "number",
            )
        ]
    return result


def _reasons(row: Row[Any]) -> list[Reason]:
    if row.order_id is None and row.order_number is None:
        message = "The invoice names no order. Write the order's number, or discard it and tell the supplier."
        return [Reason("order.missing", message, "order")]
    if row.order_id is None:
        message = f"There is no order {row.order_number}. Correct the number, or discard it and tell the supplier."
        return [Reason("order.unknown", message, "order")]
    if row.state == "cancelled":
        message = f"The order {row.found_number} was cancelled. Discard the invoice and tell the supplier."
        return [Reason("order.cancelled", message, "order")]
    reasons = []
    if not _same_supplier(row):
        reasons.append(
            Reason(
                "supplier.differs",
                f"The invoice is from {row.supplier or row.supplier_name or 'nobody'}, and the order"
                f" {row.found_number} went to {row.order_supplier} ({row.order_supplier_name}). Correct the order's"
                " number or the supplier; never pay an account that is not the supplier's.",
                "supplier",
            )
        )
    if row.currency != row.order_currency:
        message = (
            f"The invoice is in {row.currency}, and the order in {row.order_currency}. Ask for one in the order's."
        )
        reasons.append(Reason("currency.differs", message, "currency"))
    return reasons


def _same_supplier(row: Row[Any]) -> bool:
    """The supplier's key decides; where the invoice has none, its name, as it is written on the order."""
    if row.supplier:
        return bool(row.supplier.casefold() == row.order_supplier.casefold())
    return row.supplier_name is not None and fold(row.supplier_name) == fold(row.order_supplier_name)


def _note(connection: Connection, rows: Sequence[Row[Any]]) -> None:
    connection.execute(
        text("""
            update supplier_invoices i set order_id = o.case_id, order_number = o.number, supplier = o.supplier
            from unnest(cast(:cases as bigint[]), cast(:orders as bigint[])) as v(case_id, order_id)
            join purchase_orders o on o.case_id = v.order_id
            where i.case_id = v.case_id"""),
        {"cases": [row.case_id for row in rows], "orders": [row.order_id for row in rows]},
    )


def _claim_numbers(connection: Connection, case_ids: Sequence[int]) -> dict[int, int]:
    """Claim the numbers of some invoices; return who has it, for each that another case has.

    Whoever claims the same number at this moment is waited for.
    """
    values = {"ids": list(case_ids)}
    connection.execute(
        text("""
            delete from supplier_invoice_numbers n using supplier_invoices i
            where n.case_id = any(:ids) and i.case_id = n.case_id
              and (n.supplier, n.number_key) is distinct from (i.supplier, i.number_key)"""),
        values,
    )
    connection.execute(
        text("""
            insert into supplier_invoice_numbers (supplier, number_key, case_id)
            select supplier, number_key, case_id from supplier_invoices where case_id = any(:ids)
            order by supplier, number_key, case_id
            on conflict do nothing"""),
        values,
    )
    taken = connection.execute(
        text("""
            select i.case_id, n.case_id as holder from supplier_invoices i
            join supplier_invoice_numbers n using (supplier, number_key)
            where i.case_id = any(:ids) and n.case_id <> i.case_id"""),
        values,
    )
    return {row.case_id: row.holder for row in taken}
