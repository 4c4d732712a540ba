"""Steps `post_receipt` and `log`: the ERP learns what arrived or went back, and the case is closed."""

from __future__ import annotations

from decimal import Decimal

from sqlalchemy import text

from include.cases.model import StepResult, Work
from include.domain.goods_receipt.stocked import has_lots, items_of
from include.domain.purchasing import purchasing
from include.integrations.systems import Effect, Json, Provider
from include.stock.items import Inexact, Item, UnitUnknown, to_base

OPERATIONS = {"delivery": ("receive_goods", "GR"), "return": ("return_goods", "RT")}
FROM_ERP = "erp-receipts"
"""The source of what was received or sent back in the ERP itself."""


_POSTED = text("""
    select r.case_id, r.kind, r.order_number, r.received_on, o.category,
           array_agg(l.order_line order by l.order_line, l.lot) as lines,
           array_agg(nullif(trim(ol.item), '') order by l.order_line, l.lot) as items,
           array_agg(ol.unit order by l.order_line, l.lot) as units,
           array_agg(l.lot order by l.order_line, l.lot) as lots,
           array_agg(l.accepted order by l.order_line, l.lot) as quantities
    from goods_receipts r join purchase_orders o on o.case_id = r.order_id
    join (select case_id, order_line, lot, sum(accepted) as accepted from goods_receipt_lines
          where case_id = any(:ids) and accepted > 0 group by case_id, order_line, lot) l on l.case_id = r.case_id
    join purchase_order_lines ol on ol.order_id = r.order_id and ol.line = l.order_line
    where r.recorded_at is not null and r.source is distinct from :from_erp
    group by r.case_id, o.category order by r.case_id""")


def plan_post_receipt(work: Work, erp: Provider) -> list[Effect]:  # noqa: ARG001 - every plan is given its provider
    """Plan the movement of goods for each receipt of which something counts; what the ERP told, it has."""
    rows = work.connection.execute(_POSTED, work.values | {"from_erp": FROM_ERP}).all()
    places = {name: category.stock for name, category in purchasing().categories.items()}
    items = items_of(work.connection, ((row.category, item) for row in rows for item in row.items))
    effects = []
    for row in rows:
        operation, prefix = OPERATIONS[row.kind]
        location = places.get(row.category)
        payload = {
            "key": f"{prefix}-{row.case_id}",
            "order": row.order_number,
            "received_on": row.received_on.isoformat(),
            "lines": [
                {"order_line": line, "quantity": _n(quantity)}
                | (_stocked(item, items.get((row.category, item)), quantity, unit, lot) if location and item else {})
                for line, item, unit, lot, quantity in zip(
                    row.lines, row.items, row.units, row.lots, row.quantities, strict=True
                )
            ],
        }
        if location and any("item" in line for line in payload["lines"]):
            payload["location"] = location
        target = payload["key"]
        effects.append(
            Effect.of(work, system="erp", operation=operation, case_id=row.case_id, target=target, payload=payload)
        )
    return effects


def _stocked(code: str, item: Item | None, quantity: Decimal, unit: str | None, lot: str | None) -> Json:
    """Say which stock a line changes, in the item's base unit, and of which lot.

    Of an item that nobody entered yet the order's unit is taken for it. Where that cannot be, nothing is said: the
    stock asks a person, and the comparison with the ERP shows what came of it.
    """
    try:
        moved = to_base(item, quantity, unit) if item else quantity
    except (UnitUnknown, Inexact):
        return {}
    told: Json = {"item": item.code if item else code, "stock_quantity": _n(moved)}
    return told | {"lot": lot} if lot and has_lots(item) else told


def _n(quantity: Decimal) -> str:
    return f"{quantity.normalize():f}"


def log(work: Work) -> StepResult:
    """Close each case with what came of it."""
    rows = work.connection.execute(
        text("""
            with posted as (
                update goods_receipts set posted_at = coalesce(posted_at, now())
                where case_id = any(:ids) and recorded_at is not null returning case_id, kind
            )
            select p.case_id, p.kind, coalesce(sum(l.accepted), 0) as accepted
            from posted p left join goods_receipt_lines l using (case_id) group by p.case_id, p.kind"""),
        work.values,
    )
    outcomes = {"delivery": "received", "return": "returned"}
    return StepResult(close={row.case_id: outcomes[row.kind] if row.accepted else "nothing accepted" for row in rows})
