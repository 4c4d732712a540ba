"""The step `update_erp`: the ERP learns what moved, and of which products, each once.

What a goods receipt brought, the ERP has from the receipt. What the ERP makes of a movement is its provider's part.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import text

from include.cases.model import Work
from include.integrations.systems import Effect, Json, Provider
from include.stock.items import Item, load_items
from include.stock.warehouse import warehouse

FROM_ERP = ("goods-receipt", "stock-difference-booking")
"""The sources of what the ERP has already: from the receipt of goods, or because it was its own to begin with."""

_MOVED = text("""
    select r.case_id, r.kind, coalesce(r.reference, r.number) as reference, max(m.moved_at) as moved_at,
           array_agg(m.item order by m.line, m.id) as items, array_agg(m.lot order by m.line, m.id) as lots,
           array_agg(m.source order by m.line, m.id) as sources,
           array_agg(m.destination order by m.line, m.id) as destinations,
           array_agg(m.quantity order by m.line, m.id) as quantities,
           array_agg(m.unit_cost order by m.line, m.id) as costs
    from stock_requests r join stock_movements m using (case_id)
    where r.case_id = any(:ids) and not coalesce(r.source = any(:from_erp), false)
    group by r.case_id order by r.case_id""")
_PRODUCTS = text("""
    select distinct on (target) id, target, case_id, state, payload from effects
    where operation = 'upsert_product' and target = any(:items) order by target, id desc""")
_GIVEN_UP = text("""
    select key, target, case_id from effects
    where case_id = any(:ids) and step = :step and operation = 'upsert_product' and state = 'dead'""")


def plan_update_erp(work: Work, erp: Provider) -> list[Effect]:  # noqa: ARG001 - every plan is given its provider
    """Plan one document of movements for each case, and the products that the ERP does not have as they are."""
    rows = work.connection.execute(_MOVED, work.values | {"from_erp": list(FROM_ERP)}).all()
    items = load_items(work.connection, {item for row in rows for item in row.items})
    effects = _products(work, rows, items)
    kinds = {code: {"code": code, "kind": location.kind} for code, location in warehouse().locations.items()}
    zone = warehouse().zone
    for row in rows:
        payload = {
            "key": f"SM-{row.case_id}",
            "kind": row.kind,
            "moved_on": row.moved_at.astimezone(zone).date().isoformat(),
            "reference": row.reference,
            "lines": [
                {
                    "item": item,
                    "title": items[item].title,
                    "unit": items[item].unit,
                    "tracking": items[item].tracking,
                    "lot": lot,
                    "from": kinds[source],
                    "to": kinds[destination],
                    "quantity": _n(quantity),
                    "unit_cost": None if cost is None else _n(cost),
                }
                for item, lot, source, destination, quantity, cost in zip(
                    row.items, row.lots, row.sources, row.destinations, row.quantities, row.costs, strict=True
                )
            ],
        }
        target = payload["key"]
        effects.append(
            Effect.of(work, system="erp", operation="move_stock", case_id=row.case_id, target=target, payload=payload)
        )
    return effects


def _products(work: Work, rows: Sequence[Any], items: dict[str, Item]) -> list[Effect]:
    """Plan each item whose product was never told, or was told otherwise the last time, for one case that moves it.

    An effect is keyed by the item and the one before it, so that two who find the same thing to tell tell it once.
    What a case of the batch had given up is tried again.
    """
    wanted = {code: _product(item) for code, item in items.items()}
    latest = {row.target: row for row in work.connection.execute(_PRODUCTS, {"items": list(wanted)})}
    effects = []
    for row in work.connection.execute(_GIVEN_UP, work.values | {"step": work.step}):
        if row.target in wanted:
            effects.append(_effect(work, row.key, row.case_id, wanted.pop(row.target)))
    for row in rows:
        for code in row.items:
            product, last = wanted.pop(code, None), latest.get(code)
            if product is None or (last and last.payload == product and last.state != "dead"):
                continue
            key = f"stock_request/product/{code}/{last.id if last else 0}"
            effects.append(_effect(work, key, row.case_id, product))
    return effects


def _effect(work: Work, key: str, case_id: int, product: Json) -> Effect:
    return Effect(key, "erp", "upsert_product", case_id, work.step, product["key"], product)


def _product(item: Item) -> Json:
    return {
        "key": item.code,
        "title": item.title,
        "unit": item.unit,
        "group": item.group,
        "tracking": item.tracking,
        "standard_cost": None if item.standard_cost is None else _n(item.standard_cost),
        "active": item.active,
    }


def _n(number: Decimal) -> str:
    return f"{number.normalize():f}"
