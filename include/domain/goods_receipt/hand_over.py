"""The step `hand_over`: what was accepted of goods that the company stocks goes on to the stock, or leaves it again.

Knows nothing of the stock's tables: it hands a document over, as the contract declares. Which categories are stocked,
and where, is purchasing's to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy import Connection, text

from include.cases.model import Work
from include.domain.purchasing import purchasing
from include.intake.handoffs import Handoff, hand_over

SOURCE = "goods-receipt"
COST = Decimal("0.000001")

_ACCEPTED = """
    select r.case_id, r.kind, r.number, r.order_number, r.received_on, o.category,
           array_agg(l.order_line order by l.order_line) as lines,
           array_agg(ol.item order by l.order_line) as items,
           array_agg(ol.description order by l.order_line) as descriptions,
           array_agg(ol.unit order by l.order_line) as units,
           array_agg(ol.unit_price * o.rate order by l.order_line) as costs,
           array_agg(l.accepted order by l.order_line) as quantities
    from goods_receipts r join purchase_orders o on o.case_id = r.order_id
    join (select case_id, order_line, sum(accepted) as accepted from goods_receipt_lines
          where case_id = any(:ids) and accepted > 0 group by case_id, order_line) l on l.case_id = r.case_id
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
    for row in connection.execute(text(_ACCEPTED), {"ids": list(case_ids), "stocked": list(places)}):
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
                    "item": item.strip(),
                    "description": description,
                    "quantity": f"{quantity.normalize():f}",
                    "unit": unit,
                    "unit_cost": f"{cost.quantize(COST).normalize():f}" if arrives else None,
                    "note": f"line {line} of {row.order_number}, {note}",
                }
                for line, item, description, unit, cost, quantity in zip(
                    row.lines, row.items, row.descriptions, row.units, row.costs, row.quantities, strict=True
                )
            ],
        }
        handoffs.append(Handoff(str(row.case_id), document, row.case_id))
    return handoffs
