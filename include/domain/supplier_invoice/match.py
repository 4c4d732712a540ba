"""The step `match`: compares invoices with their orders and receipts, and counts what matches on the orders' lines.

The comparison is in `matching`; here is what it is given, and what becomes of its verdicts. The order's case is held
meanwhile, so that a receipt that comes at this moment is either seen here or wakes the invoice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Row, text

from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.domain.purchasing import purchasing
from include.domain.supplier_invoice.matching import (
    FINAL,
    Fault,
    InvoiceLine,
    OrderLine,
    Tolerance,
    Verdict,
    match_lines,
)

ACCEPT = "accept_difference"
"""The correction by which a person accepts what differs; its value says why."""
ACCEPTED = "difference accepted"
"""The event that a person's acceptance let an invoice go on."""
WAITS_FOR_INVOICE = "accounts_payable"
"""The team that a credit note waits for whose invoice is not booked."""
SOON = timedelta(seconds=15)
"""Time until a credit note looks again whose invoice is being worked on."""
MOST_SAID = 5
"""Lines that a reason names one by one."""

_INVOICES = """
    select i.case_id, i.kind, i.supplier, i.corrects, i.corrects_key, i.number_key, i.net, i.order_id, o.requester,
           o.category,
           exists (select from corrections c where c.case_id = i.case_id and c.field = :accept
                   and c.at >= all (select at from corrections o where o.case_id = i.case_id and o.field <> :accept))
               as accepted,
           (select c.actor from corrections c where c.case_id = i.case_id and c.field = :accept
            order by c.id desc limit 1) as accepted_by
    from supplier_invoices i join purchase_orders o on o.case_id = i.order_id
    where i.case_id = any(:ids) and i.matched_at is null order by i.case_id"""

_LINES = """
    select case_id, line, order_line, item, description, quantity, unit_price
    from supplier_invoice_lines where case_id = any(:ids) order by case_id, line"""

# in the order of OrderLine's fields
_ORDER_LINES = """
    select l.order_id, l.line, o.category, l.item, l.description, l.quantity, l.unit_price, l.most,
           l.received, l.returned, l.invoiced, l.credited, l.short_closed or o.state <> 'open'
    from purchase_order_lines l join purchase_orders o on o.case_id = l.order_id
    where l.order_id = any(:orders) order by l.order_id, l.line for update of l"""

# what the invoices are worth that credit notes of this batch correct, and what was credited of them so far
_CORRECTED = """
    select c.case_id, v.supplier, v.number_key, c.matched_at is not null as matched, c.net,
           cases.state in ('pending', 'running') as under_way,
           coalesce((select sum(n.net) from supplier_invoices n
                     where n.supplier = v.supplier and n.corrects_key = v.number_key and n.kind = 'credit_note'
                       and n.matched_at is not null), 0) as credited
    from unnest(cast(:suppliers as text[]), cast(:numbers as text[])) as v(supplier, number_key)
    join supplier_invoices c on c.supplier = v.supplier and c.number_key = v.number_key and c.kind = 'invoice'
    join supplier_invoice_numbers held on held.case_id = c.case_id
    join cases on cases.id = c.case_id"""

_COUNT = """
    with v as materialized (
        select * from jsonb_to_recordset(:rows) as v(case_id bigint, line integer, verdict text, matched_line integer,
                                                     counted numeric, goes boolean)
    ), written as (
        update supplier_invoice_lines l
        set verdict = v.verdict, matched_line = v.matched_line, counted = case when v.goes then v.counted else 0 end
        from v where l.case_id = v.case_id and l.line = v.line
    ), counts as (
        select i.order_id, v.matched_line,
               coalesce(sum(v.counted) filter (where i.kind = 'invoice'), 0) as invoiced,
               coalesce(sum(v.counted) filter (where i.kind = 'credit_note'), 0) as credited
        from v join supplier_invoices i using (case_id) where v.goes and v.counted > 0
        group by i.order_id, v.matched_line
    )
    update purchase_order_lines o set invoiced = o.invoiced + c.invoiced, credited = o.credited + c.credited
    from counts c where o.order_id = c.order_id and o.line = c.matched_line"""


@dataclass
class _Corrected:
    """An invoice that credit notes correct, and what may still be credited of it."""

    matched: bool
    under_way: bool
    left: Decimal


def match(work: Work) -> StepResult:
    """Match the invoices of a batch, then its credit notes, which may correct one of them.

    What matches, or differs by what a person accepted, counts and goes on. What is invoiced before it was received
    waits for whoever requested it. All else is set aside with what differs.
    """
    result = StepResult()
    invoices = work.connection.execute(text(_INVOICES), work.values | {"accept": ACCEPT}).all()
    orders = sorted({invoice.order_id for invoice in invoices})
    store.lock(work.connection, orders)
    result.quarantine |= _of_cancelled_orders(work.connection, invoices)
    for kind in ("invoice", "credit_note"):
        part = [each for each in invoices if each.kind == kind and each.case_id not in result.quarantine]
        if part:
            result.update(_match(work.connection, part))
    gone = {invoice.order_id for invoice in invoices if invoice.case_id not in result.stopped()}
    store.wake(work.connection, _waiting_credit_notes(work.connection, sorted(gone)))
    return result


def _of_cancelled_orders(connection: Connection, invoices: Sequence[Row[Any]]) -> dict[int, list[Reason]]:
    """Stop the invoices whose order was cancelled while they waited; look with the orders held."""
    cancelled = {
        row.case_id: row.number
        for row in connection.execute(
            text("select case_id, number from purchase_orders where case_id = any(:orders) and state = 'cancelled'"),
            {"orders": sorted({invoice.order_id for invoice in invoices})},
        )
    }
    return {
        invoice.case_id: [
            Reason(
                "order.cancelled",
                f"The order {cancelled[invoice.order_id]} was cancelled. Discard the invoice and tell the supplier.",
                "order",
            )
        ]
        for invoice in invoices
        if invoice.order_id in cancelled
    }


def _match(connection: Connection, invoices: Sequence[Row[Any]]) -> StepResult:
    corrected = _corrected(connection, invoices)
    result = _uncorrected(invoices, corrected)
    by_case = {invoice.case_id: invoice for invoice in invoices if invoice.case_id not in result.stopped()}
    verdicts = match_lines(
        _order_lines(connection, invoices),
        _invoice_lines(connection, by_case, corrected),
        tolerances(),
    )
    accepted: dict[int, dict[str, Any]] = {}
    for case_id, lines in _by_case(verdicts):
        invoice = by_case[case_id]
        stopped = _stop(invoice, lines)
        if isinstance(stopped, str):
            result.wait[case_id] = stopped
        elif stopped:
            result.quarantine[case_id] = stopped
        elif words := sorted({verdict.word for verdict in lines if verdict.accepted}):
            accepted[case_id] = {"by": invoice.accepted_by, "what": words}
    _count(connection, verdicts, result.stopped())
    gone = [case_id for case_id in by_case if case_id not in result.stopped()]
    connection.execute(text("update supplier_invoices set matched_at = now() where case_id = any(:ids)"), {"ids": gone})
    store.record_each(connection, ACCEPTED, accepted)
    return result


def tolerances() -> dict[str, Tolerance]:
    """Return how far an invoice may be off, by category."""
    return {
        name: Tolerance(category.price_tolerance, category.quantity_tolerance)
        for name, category in purchasing().categories.items()
    }


def _order_lines(connection: Connection, invoices: Iterable[Row[Any]]) -> list[OrderLine]:
    orders = sorted({invoice.order_id for invoice in invoices})
    return [OrderLine(*tuple(row)) for row in connection.execute(text(_ORDER_LINES), {"orders": orders})]


def _invoice_lines(
    connection: Connection, invoices: Mapping[int, Row[Any]], corrected: Mapping[tuple[str, str], _Corrected]
) -> list[InvoiceLine]:
    lines = []
    for row in connection.execute(text(_LINES), {"ids": list(invoices)}):
        invoice = invoices[row.case_id]
        lines.append(
            InvoiceLine(
                case_id=row.case_id,
                line=row.line,
                order=invoice.order_id,
                order_line=row.order_line,
                item=row.item,
                description=row.description,
                quantity=row.quantity,
                unit_price=row.unit_price,
                credit=invoice.kind == "credit_note",
                accepted=invoice.accepted,
                corrects=(invoice.supplier, invoice.corrects_key) in corrected,
            )
        )
    return lines


def _corrected(connection: Connection, invoices: Iterable[Row[Any]]) -> dict[tuple[str, str], _Corrected]:
    wanted = sorted({(i.supplier, i.corrects_key) for i in invoices if i.kind == "credit_note" and i.corrects_key})
    if not wanted:
        return {}
    rows = connection.execute(
        text(_CORRECTED),
        {"suppliers": [supplier for supplier, _ in wanted], "numbers": [number for _, number in wanted]},
    )
    return {
        (row.supplier, row.number_key): _Corrected(row.matched, row.under_way, row.net - row.credited) for row in rows
    }


def _by_case(verdicts: Iterable[Verdict]) -> Iterable[tuple[int, list[Verdict]]]:
    for case_id, lines in groupby(verdicts, lambda verdict: verdict.case_id):
        yield case_id, list(lines)


def _uncorrected(invoices: Sequence[Row[Any]], corrected: Mapping[tuple[str, str], _Corrected]) -> StepResult:
    """Stop the credit notes whose invoice is unknown, is not matched yet, or is not worth as much."""
    result = StepResult()
    for note in invoices:
        if note.kind != "credit_note" or not note.corrects_key:
            continue
        target = corrected.get((note.supplier, note.corrects_key))
        if target is None:
            result.quarantine[note.case_id] = [
                Reason(
                    "credit.unknown_invoice",
                    f"The supplier sent no invoice {note.corrects}. Correct the number, or clear it when goods were"
                    " sent back.",
                    "corrects",
                )
            ]
        elif not target.matched and target.under_way:
            # What becomes of the invoice is not known yet: whoever decides it could not wake what does not wait yet.
            result.put_back[note.case_id] = datetime.now(UTC) + SOON
        elif not target.matched:
            result.wait[note.case_id] = WAITS_FOR_INVOICE
        elif note.net > target.left:
            said = f"Of the invoice {note.corrects}, {target.left.normalize():f} net is left to credit."
            result.quarantine[note.case_id] = [_credited_beyond(said)]
        else:
            target.left -= note.net
    return result


def _stop(invoice: Row[Any], lines: Sequence[Verdict]) -> str | list[Reason] | None:
    """Why an invoice does not go on: whom it waits for, or what differs; None when it goes on."""
    blocking: dict[Fault, list[Verdict]] = {}
    for verdict in lines:
        for fault in verdict.faults if not verdict.good else ():
            if fault in FINAL or not invoice.accepted:
                blocking.setdefault(fault, []).append(verdict)
    if blocking.keys() == {Fault.WAITS}:
        return str(invoice.requester)
    return [_reason(fault, verdicts) for fault, verdicts in blocking.items() if fault is not Fault.WAITS] or None


def _reason(fault: Fault, verdicts: Sequence[Verdict]) -> Reason:
    numbers = ", ".join(str(verdict.line) for verdict in verdicts[:MOST_SAID])
    where = f"Line {numbers}{', …' if len(verdicts) > MOST_SAID else ''}: "
    open_ = f"{sum((verdict.open for verdict in verdicts), Decimal(0)).normalize():f}"
    accept = f"Ask the supplier for a credit note, or release it with {ACCEPT} and why."
    if fault is Fault.PRICE:
        ordered = verdicts[0].order_line
        price = f"{ordered.unit_price.normalize():f}" if ordered else "another price"
        return Reason("match.price", f"{where}the order says {price}, and the invoice is off. {accept}", "lines")
    if fault is Fault.QUANTITY:
        message = f"{where}{open_} more than was received is invoiced, and no more is expected. {accept}"
        return Reason("match.quantity", message, "lines")
    if fault is Fault.BEYOND:
        message = (
            f"{where}{open_} is over all that the order tolerates. Nobody can accept that: correct it, or discard."
        )
        return Reason("match.quantity", message, "lines")
    if fault is Fault.UNORDERED:
        return Reason("match.unordered_line", f"{where}nothing like it was ordered. {accept}", "lines")
    if fault is Fault.UNSUPPORTED:
        message = f"{where}nothing was sent back, and no invoice is named. Write the invoice's number as corrects."
        return Reason("credit.unsupported", message, "corrects")
    return _credited_beyond(f"{where}more is credited than was invoiced.")


def _credited_beyond(what: str) -> Reason:
    return Reason(
        "credit.over_invoiced", f"{what} Correct the credit note, or ask the supplier for a right one.", "lines"
    )


def _count(connection: Connection, verdicts: Sequence[Verdict], stopped: set[int]) -> None:
    """Write every verdict, and count those of invoices that go on."""
    rows = [
        {
            "case_id": verdict.case_id,
            "line": verdict.line,
            "verdict": verdict.word,
            "matched_line": verdict.order_line.line if verdict.order_line else None,
            "counted": str(verdict.counts),
            "goes": verdict.case_id not in stopped,
        }
        for verdict in verdicts
    ]
    connection.execute(text(_COUNT), {"rows": Jsonb(rows)})


def _waiting_credit_notes(connection: Connection, orders: Sequence[int]) -> list[int]:
    """Return the credit notes that wait for an invoice of these orders.

    Whoever decides that one waits holds the order's case; we hold that now, so we see all who wait.
    """
    return list(
        connection.execute(
            text("""
                select cases.id from supplier_invoices i join cases on cases.id = i.case_id
                where i.order_id = any(:orders) and i.kind = 'credit_note' and cases.state = 'waiting'
                order by cases.id"""),
            {"orders": list(orders)},
        ).scalars()
    )
