"""Steps `book` and `log`: the ERP books what matched; then the journal has it, and the budget is consumed.

The journal is written when the booking is certain, once for each document, and never changed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, text

from include.cases import store
from include.cases.model import StepResult, Work
from include.data.frames import copy_rows
from include.data.money import round_to
from include.domain import budgets
from include.domain.purchasing import purchasing
from include.domain.supplier_invoice.journal import BookedLine, Booking, Entry, entries
from include.integrations.systems import Effect, Json, Provider
from include.stock.warehouse import warehouse

OUTCOMES = {"invoice": "booked", "credit_note": "credited"}

_LINES = """
    select i.case_id, i.kind, i.number, i.supplier, i.order_number, i.order_id, i.invoice_date, i.due_date, i.currency,
           i.net as total_net, i.tax as total_tax, i.gross, i.rate, o.category, o.cost_centre,
           l.line, l.matched_line, coalesce(l.description, p.description, l.item, '') as description, l.quantity,
           l.unit_price, l.tax_rate, l.net, l.tax, p.account
    from supplier_invoices i
    join purchase_orders o on o.case_id = i.order_id
    join supplier_invoice_lines l on l.case_id = i.case_id
    left join purchase_order_lines p on p.order_id = i.order_id and p.line = l.matched_line
    where i.case_id = any(:ids) and i.matched_at is not null and i.booked_at is null
    order by i.case_id, l.line"""

JOURNAL_COLUMNS = (
    "case_id", "line", "booked_on", "document", "supplier", "account", "cost_centre", "tax_code", "debit", "credit",
    "currency", "document_amount", "document_currency", "text",
)  # fmt: skip


def plan_book(work: Work, erp: Provider) -> list[Effect]:  # noqa: ARG001 - every plan is given its provider
    """Plan the booking of each invoice and credit note that matched."""
    effects = []
    for case_id, lines in _documents(work.connection, work.case_ids):
        effects.append(
            Effect.of(
                work,
                system="erp",
                operation="book_invoice",
                case_id=case_id,
                target=f"IN-{case_id}",
                payload=_payload(case_id, lines),
            )
        )
    return effects


def log(work: Work) -> StepResult:
    """Write the journal, consume the budgets, let the purchases look again, and close the cases."""
    connection = work.connection
    documents = _documents(connection, work.case_ids)
    orders = sorted({lines[0].order_id for _, lines in documents})
    store.lock(connection, orders)
    _write_journal(connection, dict(documents))
    _consume(connection, [lines[0] for _, lines in documents])
    connection.execute(
        text("update supplier_invoices set booked_at = now() where case_id = any(:ids)"),
        {"ids": [case_id for case_id, _ in documents]},
    )
    store.wake(connection, orders)
    kinds = connection.execute(
        text("select case_id, kind from supplier_invoices where case_id = any(:ids) and booked_at is not null"),
        work.values,
    )
    return StepResult(close={case_id: OUTCOMES[kind] for case_id, kind in kinds})


def _documents(connection: Connection, case_ids: Sequence[int]) -> list[tuple[int, list[Row[Any]]]]:
    rows = connection.execute(text(_LINES), {"ids": list(case_ids)})
    return [(case_id, list(lines)) for case_id, lines in groupby(rows, lambda row: row.case_id)]


def _account(line: Row[Any]) -> str:
    """A line that a person accepted without an order for it is posted to the category's account."""
    return str(line.account or purchasing().categories[line.category].account)


def _payload(case_id: int, lines: Sequence[Row[Any]]) -> Json:
    head = lines[0]
    return {
        "key": f"IN-{case_id}",
        "kind": head.kind,
        "number": head.number,
        "supplier": head.supplier,
        "order": head.order_number,
        "date": head.invoice_date.isoformat(),
        "due_date": head.due_date and head.due_date.isoformat(),
        "currency": head.currency,
        "lines": [
            {
                "order_line": line.matched_line,
                "description": line.description,
                "quantity": _plain(line.quantity),
                "unit_price": _plain(line.unit_price),
                "tax_rate": _plain(line.tax_rate),
                "net": str(round_to(line.net, head.currency)),
                "tax": str(round_to(line.tax, head.currency)),
                "account": _account(line),
                "cost_centre": line.cost_centre,
            }
            for line in lines
        ],
        "net": str(round_to(head.total_net, head.currency)),
        "tax": str(round_to(head.total_tax, head.currency)),
        "gross": str(round_to(head.gross, head.currency)),
    }


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"


def journal_of(lines: Sequence[Row[Any]]) -> list[Entry]:
    """Return the journal entries of one document's lines."""
    head = lines[0]
    booked = [BookedLine(_account(line), line.cost_centre, line.tax_rate, line.net, line.tax) for line in lines]
    return entries(Booking(head.kind == "credit_note", head.currency, head.rate, booked), purchasing())


def _write_journal(connection: Connection, documents: Mapping[int, Sequence[Row[Any]]]) -> None:
    """Write the entries, all dated by the company's day on which they can first be seen.

    The table is locked before the clock is read: an export locks out writers, so nothing is added to a day it has seen.
    """
    connection.execute(text("lock table journal_lines in row exclusive mode"))
    day = warehouse().day_of(connection.execute(text("select clock_timestamp()")).scalar_one())
    company = purchasing().company.currency
    rows = (
        (
            case_id, number, day, head.number, head.supplier, entry.account, entry.cost_centre, entry.tax_code,
            entry.debit, entry.credit, company, entry.document_amount, head.currency,
            f"{head.order_number} {head.supplier} {head.number}",
        )
        for case_id, lines in documents.items()
        for head in lines[:1]
        for number, entry in enumerate(journal_of(lines), 1)
    )  # fmt: skip
    copy_rows(connection, "journal_lines", JOURNAL_COLUMNS, rows)


def _consume(connection: Connection, heads: Sequence[Row[Any]]) -> None:
    """Book what was invoiced, without tax, against the budgets that the purchases committed it from."""
    company = purchasing().company.currency
    amounts = []
    for head in heads:
        net = round_to(head.total_net * head.rate, company)
        amount = -net if head.kind == "credit_note" else net
        amounts.append((head.order_id, amount, f"consume/{head.case_id}"))
    budgets.consume_all(connection, amounts)
