"""The step `read_receipt`: what the warehouse says arrived or went back, in columns and lines.

It judges only whether a receipt can be read; whether it fits its order is for the next step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.cases.model import Reason, StepResult, Work
from include.data.frames import copy_rows
from include.data.money import AmountInvalid, parse_amount
from include.data.normalise.text import fold, given, storable
from include.data.normalise.values import moment, whole_number
from include.intake.received import Received, received
from include.stock.warehouse import warehouse

KINDS = {"delivery", "return"}
CONDITIONS = {
    None: "good", "good": "good", "ok": "good", "intact": "good",
    "damaged": "damaged", "broken": "damaged", "defective": "damaged",
}  # fmt: skip
MOST = Decimal(10) ** 12
"""No quantity is as large; whatever says so was misread."""
LINE_COLUMNS = ("case_id", "line", "order_line", "item", "quantity", "lot", "expires_on", "condition", "note")


@dataclass(frozen=True)
class _Line:
    order_line: int | None
    item: str | None
    quantity: Decimal
    lot: str | None
    expires_on: date | None
    condition: str
    note: str | None


@dataclass(frozen=True)
class _Receipt:
    case_id: int
    header: dict[str, Any]
    lines: Sequence[_Line]
    reasons: list[Reason]


def read_receipt(work: Work) -> StepResult:
    """Write the receipts of a batch; one that cannot be read is set aside.

    A receipt that comes here again takes back what it had counted. One that the ERP or the
    stock may have is left as it is.
    """
    settled = _settled(work.connection, work.case_ids)
    receipts = [_read(delivery) for delivery in received(work) if delivery.case_id not in settled]
    ids = [receipt.case_id for receipt in receipts]
    work.connection.execute(text("select take_back_receipts(:ids)"), {"ids": ids})
    _write(work.connection, receipts)
    return StepResult(quarantine={receipt.case_id: receipt.reasons for receipt in receipts if receipt.reasons})


def _settled(connection: Connection, case_ids: Sequence[int]) -> set[int]:
    return set(
        connection.execute(
            text("""
                select case_id from effects where case_id = any(:ids) and system = 'erp'
                   and state in ('sending', 'sent', 'unknown')
                union select case_id from goods_receipts where case_id = any(:ids) and posted_at is not null"""),
            {"ids": list(case_ids)},
        ).scalars()
    )


def _read(delivery: Received) -> _Receipt:
    fields = delivery.corrected
    reasons: list[Reason] = []
    number = given(fields.get("order"))
    if number is None:
        reasons.append(Reason("order.missing", "The receipt names no order. Write its number, or discard it.", "order"))
    kind = (fold(fields.get("kind")) or "delivery").replace(" ", "_")
    if kind not in KINDS:
        reasons.append(Reason("kind.unknown", f"{kind[:50]!r} is neither delivery nor return.", "kind"))
    day = _day(fields.get("received_on"), delivery)
    if day is None:
        message = "The day of the receipt cannot be read. Write it as 2026-01-31."
        reasons.append(Reason("received_on.invalid", message, "received_on"))
    lines = _lines(fields.get("lines"), reasons)
    header = {
        "case_id": delivery.case_id,
        "number": (given(fields.get("number")) or "")[:100] or None,
        "order_number": number and "".join(number.split()).upper()[:100],
        "kind": kind if kind in KINDS else None,
        "received_by": (given(fields.get("received_by")) or "")[:200] or None,
        "received_on": day,
        "source": delivery.source,
        "raw": storable(dict(delivery.fields)),
    }
    told = {reason.field for reason in reasons}
    unfit = [found for found in delivery.reasons if found.code != "mapping.missing" or found.field not in told]
    return _Receipt(delivery.case_id, header, lines, [*unfit, *reasons])


def _day(value: Any, delivery: Received) -> date | None:
    if given(value) is None:
        return warehouse().day_of(delivery.received_at) if delivery.received_at else None
    found = moment(value)
    return found.date() if found else None


def _lines(sent: Any, reasons: list[Reason]) -> list[_Line]:
    if not isinstance(sent, list) or not sent or not all(isinstance(line, Mapping) for line in sent):
        reasons.append(Reason("lines.missing", "The receipt has no lines. Write at least one.", "lines"))
        return []
    lines = []
    for number, line in enumerate(sent, 1):
        quantity = _quantity(line.get("quantity"))
        condition = CONDITIONS.get(fold(line.get("condition")))
        order_line = whole_number(line.get("order_line"))
        if quantity is None:
            message = f"Line {number}: the quantity must be more than zero, with at most four decimals."
            reasons.append(Reason("line.quantity", message, "lines"))
        if condition is None:
            reasons.append(Reason("line.condition", f"Line {number}: the goods are neither good nor damaged.", "lines"))
        if order_line is None and given(line.get("order_line")) is not None:
            message = f"Line {number}: the line of the order must be a whole number."
            reasons.append(Reason("line.order_line", message, "lines"))
        expires_on = moment(line.get("expires_on"))
        if expires_on is None and given(line.get("expires_on")) is not None:
            message = f"Line {number}: the day of expiry cannot be read. Write it as 2026-12-31."
            reasons.append(Reason("line.expires_on", message, "lines"))
        if quantity is not None and condition is not None:
            item, lot, note = (given(line.get(name)) for name in ("item", "lot", "note"))
            lines.append(
                _Line(
                    order_line,
                    item and item[:200],
                    quantity,
                    lot and lot[:100],
                    expires_on and expires_on.date(),
                    condition,
                    note and note[:1000],
                )
            )
    return lines


def _quantity(value: Any) -> Decimal | None:
    try:
        # A correction is JSON, and its numbers are floats whose shortest notation is what was typed.
        quantity = parse_amount(repr(value) if isinstance(value, float) else value)
    except (AmountInvalid, TypeError):
        return None
    fine = 0 < quantity < MOST and quantity == quantity.quantize(Decimal("0.0001"))
    return quantity if fine else None


def _write(connection: Connection, receipts: Sequence[_Receipt]) -> None:
    connection.execute(
        text("""
            insert into goods_receipts (case_id, number, order_number, kind, received_by, received_on, source, raw)
            select case_id, number, order_number, kind, received_by, received_on, source, raw
            from jsonb_to_recordset(:rows) as v(case_id bigint, number text, order_number text, kind text,
                 received_by text, received_on date, source text, raw jsonb)
            on conflict (case_id) do update set
                number = excluded.number, order_number = excluded.order_number, order_id = null, kind = excluded.kind,
                received_by = excluded.received_by, received_on = excluded.received_on"""),
        {"rows": Jsonb([receipt.header for receipt in receipts])},
    )
    connection.execute(
        text("delete from goods_receipt_lines where case_id = any(:ids)"),
        {"ids": [receipt.case_id for receipt in receipts]},
    )
    copy_rows(
        connection,
        "goods_receipt_lines",
        LINE_COLUMNS,
        (
            (receipt.case_id, number, *astuple(line))
            for receipt in receipts
            if not receipt.reasons
            for number, line in enumerate(receipt.lines, 1)
        ),
    )
