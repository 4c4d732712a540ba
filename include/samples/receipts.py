"""What the warehouse and the suppliers send for the demo's orders: deliveries, and then invoices.

The same orders give the same payloads. One order comes in two deliveries, and one invoice costs more than was ordered,
so that somebody has to decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from sqlalchemy import Connection, text

from include.samples.leads import Sample

DEARER = Decimal("1.15")
"""How much more than ordered the one invoice asks for; no category tolerates as much."""


@dataclass(frozen=True)
class OrderedLine:
    """A line of an order."""

    line: int
    item: str | None
    description: str
    quantity: Decimal
    unit_price: Decimal
    tax_rate: Decimal


@dataclass(frozen=True)
class Ordered:
    """An order that goods and an invoice come for."""

    number: str
    supplier: str
    currency: str
    lines: Sequence[OrderedLine]


def open_orders(connection: Connection) -> list[Ordered]:
    """Return the orders that are open, by number."""
    orders: dict[str, list[Any]] = {}
    for row in connection.execute(
        text("""
            select o.number, o.supplier, o.currency, l.line, l.item, l.description, l.quantity, l.unit_price, l.tax_rate
            from purchase_orders o join purchase_order_lines l on l.order_id = o.case_id
            where o.state = 'open' order by o.number, l.line""")
    ):
        orders.setdefault(row.number, []).append(row)
    return [
        Ordered(number, rows[0].supplier, rows[0].currency, [OrderedLine(*tuple(row)[3:]) for row in rows])
        for number, rows in orders.items()
    ]


def deliveries(orders: Sequence[Ordered], *, mailing: str, day: date | None = None) -> list[Sample]:
    """Return what arrives for the orders: all of it; for the first one in two parts, some of it damaged and replaced.

    :param mailing: goes into the delivery notes: another mailing of the same goods is other deliveries.
    """
    on = (day or datetime.now(UTC).date()).isoformat()
    samples = []
    for place, order in enumerate(orders):
        if place == 0:
            halves = [_half(line.quantity) for line in order.lines]
            first = [_received(line, half) for line, half in zip(order.lines, halves, strict=True) if half]
            rest = [_received(line, line.quantity - half) for line, half in zip(order.lines, halves, strict=True)]
            damaged = {**rest[0], "condition": "damaged", "note": "the box was wet, and was replaced at the door"}
            if first:
                samples.append(_delivery(order, f"DN-{mailing}-{place}-1", on, first, "the first part"))
            samples.append(_delivery(order, f"DN-{mailing}-{place}-2", on, [*rest, damaged], "the rest; some damaged"))
        else:
            lines = [_received(line, line.quantity) for line in order.lines]
            samples.append(_delivery(order, f"DN-{mailing}-{place}", on, lines, ""))
    return samples


def invoices(orders: Sequence[Ordered], *, mailing: str, day: date | None = None) -> list[Sample]:
    """Return the suppliers' invoices for the orders; the last one's prices are not those of its order."""
    on = (day or datetime.now(UTC).date()).isoformat()
    samples = []
    for place, order in enumerate(orders):
        dearer = place == len(orders) - 1
        number = f"R-{mailing}-{place}"
        payload = {
            "id": f"invoice-{number}",
            "number": number,
            "supplier": order.supplier,
            "order": order.number,
            "invoice_date": on,
            "currency": order.currency,
            "lines": [_invoiced(line, DEARER if dearer else Decimal(1)) for line in order.lines],
        }
        samples.append(Sample("invoices", "costs more than was ordered" if dearer else "", payload))
    return samples


def _half(quantity: Decimal) -> Decimal:
    return (quantity / 2).quantize(Decimal(1), ROUND_HALF_UP) if quantity > 1 else Decimal(0)


def _received(line: OrderedLine, quantity: Decimal) -> dict[str, Any]:
    return {"order_line": line.line, "item": line.item, "quantity": _written(quantity)}


def _delivery(order: Ordered, number: str, day: str, lines: list[dict[str, Any]], note: str) -> Sample:
    payload = {"id": number, "number": number, "order": order.number, "received_on": day, "lines": lines}
    return Sample("warehouse", note, payload)


def _invoiced(line: OrderedLine, factor: Decimal) -> dict[str, Any]:
    price = line.unit_price if factor == 1 else (line.unit_price * factor).quantize(Decimal("0.01"), ROUND_HALF_UP)
    return {
        "order_line": line.line,
        "item": line.item,
        "description": line.description,
        "quantity": _written(line.quantity),
        "unit_price": _written(price),
        "tax_rate": _written(line.tax_rate),
    }


def _written(amount: Decimal) -> str:
    return f"{amount.normalize():f}"
