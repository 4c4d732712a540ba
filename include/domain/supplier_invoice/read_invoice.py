"""The step `read_invoice`: what a supplier invoices, in columns and lines that add up, with a dated rate.

Whether anything of it was ordered is for the next steps. A credit note has positive amounts here; its kind is its sign.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.cases.model import Reason, StepResult, Work
from include.data import rates
from include.data.frames import copy_rows
from include.data.money import AmountInvalid, known, parse_amount
from include.data.normalise.text import fold, given, storable
from include.data.normalise.values import moment, whole_number
from include.domain.purchasing import purchasing
from include.domain.supplier_invoice.totals import Claimed, Line, Totals, add_up
from include.intake.received import Received, received

KINDS = {None: "invoice", "invoice": "invoice", "credit note": "credit_note", "credit": "credit_note"}
MOST = Decimal(10) ** 12
"""No amount is as large; whatever says so was misread."""
FINEST = Decimal("0.0001")
AHEAD = timedelta(days=1)  # an invoice's date may be this far ahead of its arrival: the supplier's day began earlier
LINE_COLUMNS = (
    "case_id", "line", "order_line", "item", "description", "quantity", "unit_price", "tax_rate", "net", "tax",
)  # fmt: skip


@dataclass
class _Invoice:
    case_id: int
    header: dict[str, Any]
    totals: Totals | None = None
    currency: str | None = None
    day: date | None = None
    reasons: list[Reason] = field(default_factory=list)


def read_invoice(work: Work) -> StepResult:
    """Write the invoices of a batch; one that cannot be read, or does not add up, is set aside.

    An invoice that comes here again takes back what it had counted. One that the ERP may have is left as it is.
    """
    settled = _settled(work.connection, work.case_ids)
    invoices = [_read(delivery) for delivery in received(work) if delivery.case_id not in settled]
    _convert(work.connection, invoices)
    ids = [invoice.case_id for invoice in invoices]
    work.connection.execute(text("select take_back_invoices(:ids)"), {"ids": ids})
    _write(work.connection, invoices)
    return StepResult(quarantine={invoice.case_id: invoice.reasons for invoice in invoices if invoice.reasons})


def _settled(connection: Connection, case_ids: Sequence[int]) -> set[int]:
    return set(
        connection.execute(
            text("""
                select case_id from effects where case_id = any(:ids) and system = 'erp'
                   and state in ('sending', 'sent', 'unknown')
                union select case_id from supplier_invoices where case_id = any(:ids) and booked_at is not null"""),
            {"ids": list(case_ids)},
        ).scalars()
    )


def _read(delivery: Received) -> _Invoice:
    fields = delivery.corrected
    reasons: list[Reason] = []
    number = given(fields.get("number"))
    if number is None:
        message = "The invoice has no number. Write the one that the supplier gave it."
        reasons.append(Reason("invoice.number_missing", message, "number"))
    currency = (given(fields.get("currency")) or "").upper()
    if not known(currency):
        message = f"{currency[:20]!r} is no currency of ISO 4217. Write its three letters."
        reasons.append(Reason("currency.unknown", message, "currency"))
    days = {name: _day(fields.get(name), name, reasons) for name in ("invoice_date", "due_date")}
    _check_date(days["invoice_date"], delivery, reasons)
    claimed = Claimed(*(_total(fields.get(name), name, reasons) for name in ("net", "tax", "gross")))
    lines = _lines(fields.get("lines"), reasons)
    kind = KINDS.get(fold(fields.get("kind")))
    if kind is None:
        reasons.append(Reason("kind.unknown", "The document is neither an invoice nor a credit note.", "kind"))
    kind, lines, claimed = _upright(kind, lines, claimed, reasons)
    totals = None
    if not reasons:
        added = add_up(lines, claimed, currency)
        if isinstance(added, Reason):
            reasons.append(added)
        else:
            totals = added
    told = {reason.field for reason in reasons}
    unfit = [found for found in delivery.reasons if found.code != "mapping.missing" or found.field not in told]
    order = given(fields.get("order"))
    header = {
        "case_id": delivery.case_id,
        "supplier": _short(fields.get("supplier")),
        "supplier_name": _short(fields.get("supplier_name")),
        "number": number and number[:100],
        "kind": kind,
        "order_number": order and "".join(order.split()).upper()[:100],
        "corrects": _short(fields.get("corrects")),
        "invoice_date": days["invoice_date"],
        "due_date": days["due_date"],
        "currency": currency if known(currency) else None,
        "net": totals and str(totals.net),
        "tax": totals and str(totals.tax),
        "gross": totals and str(totals.gross),
        "source": delivery.source,
        "raw": storable(dict(delivery.fields)),
    }
    return _Invoice(delivery.case_id, header, totals, header["currency"], days["invoice_date"], [*unfit, *reasons])


def _short(value: Any) -> str | None:
    line = given(value)
    return line and line[:100]


def _day(value: Any, name: str, reasons: list[Reason]) -> date | None:
    if given(value) is None:
        return None
    found = moment(value)
    if found is None:
        reasons.append(Reason("date.invalid", "A date cannot be read. Write it as 2026-01-31.", name))
    return found.date() if found else None


def _check_date(day: date | None, delivery: Received, reasons: list[Reason]) -> None:
    if day is None and not any(reason.field == "invoice_date" for reason in reasons):
        message = "The invoice has no date; it decides about the rate and the tax. Write it as 2026-01-31."
        reasons.append(Reason("date.missing", message, "invoice_date"))
    if day and delivery.received_at and day > (delivery.received_at + AHEAD).date():
        message = f"The invoice is dated {day}, which is after it arrived. Correct the date."
        reasons.append(Reason("date.in_future", message, "invoice_date"))


def _amount(value: Any) -> Decimal:
    # A correction is JSON, and its numbers are floats whose shortest notation is what was typed.
    amount = parse_amount(repr(value) if isinstance(value, float) else value)
    if abs(amount) >= MOST or amount != amount.quantize(FINEST):
        raise AmountInvalid("an amount has at most twelve digits before the point, and four behind it")
    return amount


def _total(value: Any, name: str, reasons: list[Reason]) -> Decimal | None:
    if value is None or value == "":
        return None
    try:
        return _amount(value)
    except (AmountInvalid, TypeError):
        reasons.append(Reason("amount.invalid", f"The {name} total is no amount. Write it as 1234.56.", name))
        return None


def _lines(sent: Any, reasons: list[Reason]) -> list[Line]:
    if not isinstance(sent, list) or not sent or not all(isinstance(line, Mapping) for line in sent):
        reasons.append(Reason("lines.missing", "The invoice has no lines. Write at least one.", "lines"))
        return []
    lines = []
    for number, line in enumerate(sent, 1):
        try:
            quantity, price = _amount(line.get("quantity")), _amount(line.get("unit_price"))
        except (AmountInvalid, TypeError):
            message = f"Line {number}: quantity and price are amounts with at most four decimals. Correct them."
            reasons.append(Reason("line.amounts", message, "lines"))
            continue
        if not quantity:
            reasons.append(Reason("line.amounts", f"Line {number}: the quantity is zero. Correct it.", "lines"))
        rate = tax_rate(line.get("tax_rate"))
        if rate is None:
            known_rates = ", ".join(f"{share.normalize():f}" for share in purchasing().taxes)
            message = f"Line {number}: the tax rate is none of {known_rates}. Correct it, or add it to purchasing.yaml."
            reasons.append(Reason("tax.unknown", message, "lines"))
            continue
        order_line = whole_number(line.get("order_line"))
        item, description = _short(line.get("item")), given(line.get("description"))
        lines.append(Line(order_line, item, description and description[:500], quantity, price, rate))
    return lines


def tax_rate(value: Any) -> Decimal | None:
    """Read `0.19`, `19` and `19 %` as 0.19; None where it is no rate that the company knows."""
    return _tax_rate(given(value) or "")


@lru_cache(1_000)
def _tax_rate(sent: str) -> Decimal | None:
    try:
        rate = _amount(sent.removesuffix("%").strip())
    except (AmountInvalid, TypeError):
        return None
    if rate >= 1 or sent.endswith("%"):
        rate /= 100
    return rate if purchasing().tax(rate) else None


def _upright(
    kind: str | None, lines: list[Line], claimed: Claimed, reasons: list[Reason]
) -> tuple[str | None, list[Line], Claimed]:
    """Turn negative documents over: some suppliers send a credit note with a minus, some as one by name."""
    turned = [line.quantity < 0 for line in lines]
    if lines and all(turned):
        kind = "credit_note"
        lines = [replace(line, quantity=-line.quantity) for line in lines]
    elif any(turned):
        reasons.append(Reason("line.amounts", "Some quantities are negative, and some are not.", "lines"))
    elif kind == "credit_note" and lines and all(line.unit_price < 0 for line in lines):
        lines = [replace(line, unit_price=-line.unit_price) for line in lines]
    totals = [claimed.net, claimed.tax, claimed.gross]
    if kind == "credit_note" and all(total is None or total <= 0 for total in totals):
        claimed = Claimed(*(None if total is None else -total for total in totals))
    elif any(total is not None and total < 0 for total in totals):
        message = "The total is negative. Correct it, or write credit_note as kind when it is one."
        reasons.append(Reason("amount.negative", message, "gross"))
    return kind, lines, claimed


def _convert(connection: Connection, invoices: Sequence[_Invoice]) -> None:
    """Give each readable invoice the rate of its date."""
    company = purchasing().company.currency
    readable = [invoice for invoice in invoices if invoice.totals and invoice.currency and invoice.day]
    wanted = sorted({(invoice.currency or "", company, invoice.day or date.min) for invoice in readable})
    found = rates.rates(connection, wanted)
    for invoice in readable:
        rate = found.get((invoice.currency or "", company, invoice.day or date.min))
        if rate is None:
            message = f"There is no rate of {invoice.currency} for {invoice.day}. Load the rates of that day; release."
            invoice.reasons.append(Reason("rate.missing", message, "invoice_date"))
        else:
            invoice.header |= {"rate": str(rate.rate), "rate_day": rate.day}


def _write(connection: Connection, invoices: Sequence[_Invoice]) -> None:
    columns = (
        "number", "supplier", "supplier_name", "kind", "order_number", "corrects", "invoice_date", "due_date",
        "currency", "net", "tax", "gross", "rate", "rate_day", "source", "raw",
    )  # fmt: skip
    connection.execute(
        text(f"""
            insert into supplier_invoices (case_id, {", ".join(columns)})
            select case_id, {", ".join(columns)} from jsonb_to_recordset(:rows) as v(
                case_id bigint, number text, supplier text, supplier_name text, kind text, order_number text,
                corrects text, invoice_date date, due_date date, currency text, net numeric, tax numeric,
                gross numeric, rate numeric, rate_day date, source text, raw jsonb)
            on conflict (case_id) do update set order_id = null,
                {", ".join(f"{name} = excluded.{name}" for name in columns)}"""),
        {"rows": Jsonb([invoice.header for invoice in invoices])},
    )
    connection.execute(
        text("delete from supplier_invoice_lines where case_id = any(:ids)"),
        {"ids": [invoice.case_id for invoice in invoices]},
    )
    copy_rows(
        connection,
        "supplier_invoice_lines",
        LINE_COLUMNS,
        (
            (invoice.case_id, number, line.order_line, line.item, line.description, line.quantity, line.unit_price,
             line.tax_rate, line.net, line.tax)
            for invoice in invoices
            if invoice.totals and not invoice.reasons
            for number, line in enumerate(invoice.totals.lines, 1)
        ),
    )  # fmt: skip
