"""The stock of the built-in ERP: products, what moved between places, and what is there.

It is told what happened and books it, below zero too; whether it may happen is Waybill's stock ledger's to decide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.integrations.systems import Failed, Json, Outcome, PendingEffect, Sent

REAL = {"internal", "transit"}
"""Kinds of places whose stock is counted; what is anywhere else is not the company's."""
PRODUCT = {
    "title": None,
    "unit": None,
    "group": None,
    "tracking": "none",
    "standard_cost": None,
    "active": True,
}
"""What is said of a product of which nothing else is known."""

_UPSERT_PRODUCTS = text("""
insert into erp_products (key, record)
select key, record from jsonb_to_recordset(:records) as v(key text, record jsonb) order by key
on conflict (key) do update set record = erp_products.record || excluded.record, updated_at = now()
where erp_products.record is distinct from erp_products.record || excluded.record
""")
_LEARN_PRODUCTS = text("""
insert into erp_products (key, record)
select key, record from jsonb_to_recordset(:records) as v(key text, record jsonb) order by key
on conflict do nothing
""")
# The documents come first and in one order, then the balances in one order: two batches never wait for each other.
_NEW_DOCUMENTS = text("""
insert into erp_stock_documents (key, kind, moved_on, document)
select key, kind, moved_on, document
from jsonb_to_recordset(:documents) as v(key text, kind text, moved_on date, document jsonb) order by key
on conflict do nothing returning key
""")
_CHANGE_STOCK = text("""
insert into erp_stock (location, item, lot, quantity)
select location, item, lot, sum(quantity)
from jsonb_to_recordset(:changes) as v(location text, item text, lot text, quantity numeric)
group by location, item, lot order by location, item, lot
on conflict (location, item, lot) do update set quantity = erp_stock.quantity + excluded.quantity
""")


def upsert_products(connection: Connection, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
    """Fold the effects by key, in their order; what is null is not known, and does not erase."""
    folded: dict[str, Json] = {}
    for effect in effects:
        known = {name: value for name, value in effect.payload.items() if name != "key" and value is not None}
        folded[effect.payload["key"]] = folded.get(effect.payload["key"], {}) | known
    connection.execute(_UPSERT_PRODUCTS, {"records": _records(folded)})
    return [Sent({"id": effect.payload["key"]}) for effect in effects]


def move_stock(connection: Connection, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
    """Book what moved, each key once, and learn the products that are new."""
    outcomes: list[Outcome] = []
    good: dict[str, Json] = {}
    for effect in effects:
        if problem := _problem(effect.payload):
            outcomes.append(Failed(problem, permanent=True))
        else:
            good.setdefault(effect.payload["key"], effect.payload)
            outcomes.append(Sent({"id": effect.payload["key"], "number": effect.payload["key"]}))
    documents = [
        {"key": key, "kind": payload["kind"], "moved_on": payload["moved_on"], "document": payload}
        for key, payload in good.items()
    ]
    new = set(connection.execute(_NEW_DOCUMENTS, {"documents": Jsonb(documents)}).scalars())
    lines = [line for key in sorted(new) for line in good[key]["lines"]]
    learned = {line["item"]: {name: line.get(name) for name in ("title", "unit", "tracking")} for line in lines}
    connection.execute(_LEARN_PRODUCTS, {"records": _records(learned)})
    change_stock(
        connection,
        [
            (place["code"], line["item"], line.get("lot") or "", sign * Decimal(str(line["quantity"])))
            for line in lines
            for place, sign in ((line["from"], -1), (line["to"], 1))
            if place["kind"] in REAL
        ],
    )
    return outcomes


def change_stock(connection: Connection, changes: Sequence[tuple[str, str, str, Decimal]]) -> None:
    """Add to what is there.

    :param changes: location, item, lot and quantity, negative for what left.
    """
    summed: dict[tuple[str, str, str], Decimal] = {}
    for *place, quantity in changes:
        location, item, lot = place
        summed[location, item, lot] = summed.get((location, item, lot), Decimal()) + quantity
    rows = [
        {"location": location, "item": item, "lot": lot, "quantity": f"{quantity:f}"}
        for (location, item, lot), quantity in summed.items()
        if quantity
    ]
    if rows:
        connection.execute(_CHANGE_STOCK, {"changes": Jsonb(rows)})


def read_products(connection: Connection, keys: Sequence[str]) -> Mapping[str, Json]:
    """Return those of the products that exist."""
    rows = connection.execute(text("select key, record from erp_products where key = any(:keys)"), {"keys": list(keys)})
    return {row.key: {name: row.record.get(name, value) for name, value in PRODUCT.items()} for row in rows}


def read_stock(connection: Connection, locations: Sequence[str]) -> Mapping[str, Json]:
    """Return what is there in each of the places, by item and lot; nothing is left out but nought."""
    rows = connection.execute(
        text("""
            select item, location, lot, quantity from erp_stock
            where location = any(:locations) and quantity <> 0 order by item, location, lot"""),
        {"locations": list(locations)},
    )
    return {
        f"{row.item}|{row.location}|{row.lot}": {
            "item": row.item,
            "location": row.location,
            "lot": row.lot,
            "quantity": f"{row.quantity.normalize():f}",
        }
        for row in rows
    }


def _problem(payload: Json) -> str | None:
    """Say why stock cannot move as `payload` tells; None when it can."""
    date.fromisoformat(payload["moved_on"])
    if not payload["lines"]:
        return f"{payload['key']} has no lines"
    for number, line in enumerate(payload["lines"], start=1):
        if not Decimal(str(line["quantity"])) > 0:
            return f"{payload['key']}: the quantity {line['quantity']} of line {number} is not positive"
        if line["from"]["code"] == line["to"]["code"]:
            return f"{payload['key']}: line {number} moves from {line['from']['code']} to the same place"
        if not line["item"]:
            return f"{payload['key']}: line {number} names no item"
    return None


def _records(records: Mapping[str, Mapping[str, Any]]) -> Jsonb:
    return Jsonb([{"key": key, "record": record} for key, record in records.items()])
