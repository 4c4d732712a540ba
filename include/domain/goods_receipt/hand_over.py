"""The step `hand_over`: what was accepted of goods that the company stocks goes on to the stock, or leaves it again.

Moves no stock: it hands a document over, as the contract declares. Which categories are stocked, and where, is
purchasing's to say; which items have lots, the stock's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from include.cases.model import Work
from include.domain.goods_receipt.stocked import has_lots, items_of
from include.domain.purchasing import purchasing
from include.intake.handoffs import Handoff, hand_over

SOURCE = "goods-receipt"
COST = Decimal("0.000001")

_ACCEPTED = """
    select r.case_id, r.kind, r.number, r.order_number, r.received_on, o.category,
           json_agg(json_build_object(
               'line', l.order_line, 'item', ol.item, 'description', ol.description, 'unit', ol.unit, 'lot', l.lot,
               'expires_on', l.expires_on, 'cost', (ol.unit_price * o.rate)::text, 'quantity', l.accepted::text)
               order by l.order_line, l.lot) as lines
    from goods_receipts r join purchase_orders o on o.case_id = r.order_id
    join (select case_id, order_line, lot, max(expires_on) as expires_on, sum(accepted) as accepted
          from goods_receipt_lines where case_id = any(:ids) and accepted > 0
          group by case_id, order_line, lot) l on l.case_id = r.case_id
    join purchase_order_lines ol on ol.order_id = r.order_id and ol.line = l.order_line
    where r.recorded_at is not null and o.category = any(:stocked) and trim(ol.item) <> ''
    group by r.case_id, o.category order by r.case_id"""


def hand_over_receipts(work: Work) -> None:
    """Hand over the accepted lines that name an item of a stocked category, once for each receipt.

    From here on what was counted stays: whoever discards the case does not take it back.
    """
    connection = work.connection
    if handoffs := _handoffs(connection, work.case_ids):
        hand_over(connection, SOURCE, handoffs)
    connection.execute(
        text("""
            update goods_receipts set posted_at = now()
            where case_id = any(:ids) and recorded_at is not null and posted_at is null"""),
        work.values,
    )


def _handoffs(connection: Connection, case_ids: Sequence[int]) -> list[Handoff]:
    places = {name: category.stock for name, category in purchasing().categories.items() if category.stock}
    handoffs = []
    rows = connection.execute(text(_ACCEPTED), {"ids": list(case_ids), "stocked": list(places)}).all()
    items = items_of(connection, ((row.category, line["item"]) for row in rows for line in row.lines))
    for row in rows:
        note = f"delivery note {row.number}" if row.number else f"order {row.order_number}"
        arrives = row.kind == "delivery"
        document = {
            "kind": "receipt" if arrives else "supplier_return",
            "to" if arrives else "from": places[row.category],
            "reason": None if arrives else f"Sent back to the supplier: {note}",
            "reference": row.order_number,
            "occurred_at": row.received_on.isoformat(),
            "lines": [
                {
                    "item": line["item"].strip(),
                    "description": line["description"],
                    "quantity": f"{Decimal(line['quantity']).normalize():f}",
                    "unit": line["unit"],
                    **(_lot(line) if has_lots(items.get((row.category, line["item"]))) else {}),
                    "unit_cost": f"{Decimal(line['cost']).quantize(COST).normalize():f}" if arrives else None,
                    "note": f"line {line['line']} of {row.order_number}, {note}",
                }
                for line in row.lines
            ],
        }
        handoffs.append(Handoff(str(row.case_id), document, row.case_id))
    return handoffs


def _lot(line: Mapping[str, Any]) -> dict[str, str | None]:
    return {"lot": line["lot"], "expires_on": line["expires_on"]}
