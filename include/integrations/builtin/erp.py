"""The built-in provider of the `erp` role: suppliers, orders, receipts, invoices and stock in PostgreSQL.

Keyed by Waybill's own keys, so sending an effect again changes nothing. It keeps documents and stock, and no accounts.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, OperationalError

from include.integrations.builtin.erp_stock import (
    change_stock,
    move_stock,
    read_products,
    read_stock,
    upsert_products,
)
from include.integrations.http import mask
from include.integrations.systems import Failed, Json, Operation, Outcome, PendingEffect, Sent, Settle

PARENT_MISSING = 60.0  # seconds until a document is tried again whose order is not there yet

OPERATIONS = (
    Operation("upsert_supplier", Settle.RESEND),
    Operation("upsert_product", Settle.RESEND),
    Operation("create_purchase_order", Settle.RESEND, compensation="cancel_purchase_order"),
    Operation("receive_goods", Settle.RESEND, compensation="return_goods"),
    Operation("return_goods", Settle.RESEND),
    Operation("book_invoice", Settle.RESEND),
    Operation("cancel_purchase_order", Settle.RESEND),
    Operation("move_stock", Settle.RESEND),
)
KINDS = {"receive_goods": "receipt", "return_goods": "return"}
SUPPLIER = {
    "name": None,
    "active": True,
    "blocked": False,
    "email": None,
    "currency": None,
    "country": None,
    "orders_by_mail": False,
    "language": None,
}
"""What is said of a supplier of whom nothing else is known."""

# The rows are locked in one order, so that two batches never wait for each other.
ORDERS = text("""
select o.key, o.number, o.state, o.document, coalesce(d.documents, '[]') as documents
from erp_purchase_orders o
     left join lateral (select jsonb_agg(jsonb_build_object('key', key, 'kind', kind, 'lines', document->'lines'))
                               as documents
                        from erp_documents where order_key = o.key) d on true
where o.key = any(:keys) order by o.key for update of o
""")
NEW_DOCUMENTS = text("""
insert into erp_documents (key, kind, number, order_key, document)
select key, kind, key, order_key, document
from jsonb_to_recordset(:documents) as v(key text, kind text, order_key text, document jsonb)
on conflict do nothing returning key
""")
INVOICES = text("""
select v.key, d.key as booked
from jsonb_to_recordset(:documents) as v(key text, document jsonb)
     left join erp_documents d on d.kind in ('invoice', 'credit_note')
          and d.document->>'supplier' = v.document->>'supplier'
          and lower(d.document->>'number') = lower(v.document->>'number')
""")


@dataclass
class _Order:
    """An order as it stands within the batch: what was received and went back, by line."""

    number: str
    state: str
    lines: set[int]
    keys: set[str] = field(default_factory=set)
    on_hand: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))

    def add(self, key: str, kind: str, lines: Sequence[Mapping[str, Any]]) -> None:
        self.keys.add(key)
        for line in lines if kind in KINDS.values() else ():
            quantity = Decimal(str(line["quantity"]))
            self.on_hand[int(line["order_line"])] += quantity if kind == "receipt" else -quantity


class BuiltinErp:
    """ERP tables in Waybill's database."""

    name = "builtin"
    batch_size = 1_000
    operations: Mapping[str, Operation] = {operation.name: operation for operation in OPERATIONS}

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Write all effects in one transaction; where one of them breaks it, each by itself."""
        try:
            with self._engine.begin() as connection:
                return _WRITERS[operation](connection, effects)
        except OperationalError as error:
            return [Failed(f"the database is away: {error.orig}")] * len(effects)
        except (DBAPIError, KeyError, TypeError, ValueError, ArithmeticError) as error:
            if len(effects) == 1:
                return [Failed(mask(f"{operation}: {getattr(error, 'orig', repr(error))}"), permanent=True)]
            return [self.apply(operation, [effect])[0] for effect in effects]

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Never asked: everything here may be sent again."""
        return self.apply(operation, effects)

    def read(self, kind: str, keys: Sequence[str]) -> Mapping[str, Json]:
        """Return those of `keys` that exist."""
        with self._engine.connect() as connection:
            if kind == "supplier":
                rows = connection.execute(
                    text("select key, record from erp_suppliers where key = any(:keys)"), {"keys": list(keys)}
                )
                return {
                    row.key: {name: row.record.get(name, value) for name, value in SUPPLIER.items()} for row in rows
                }
            if kind == "order":
                rows = connection.execute(
                    text("select key, number, state from erp_purchase_orders where key = any(:keys)"),
                    {"keys": list(keys)},
                )
                return {row.key: {"id": row.key, "number": row.number, "state": row.state} for row in rows}
            if kind == "product":
                return read_products(connection, keys)
            if kind == "stock":
                return read_stock(connection, keys)
        raise ValueError(f"an ERP is read for a supplier, an order, a product or stock, not for a {kind}")


def _upsert_suppliers(connection: Connection, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
    """Fold the effects by key, in their order; what is null is not known, and does not erase."""
    folded: dict[str, Json] = {}
    for effect in effects:
        known = {name: value for name, value in effect.payload.items() if name != "key" and value is not None}
        folded[effect.payload["key"]] = folded.get(effect.payload["key"], {}) | known
    connection.execute(
        text("""
            insert into erp_suppliers (key, record)
            select key, record from jsonb_to_recordset(:records) as v(key text, record jsonb) order by key
            on conflict (key) do update set record = erp_suppliers.record || excluded.record, updated_at = now()"""),
        {"records": Jsonb([{"key": key, "record": record} for key, record in folded.items()])},
    )
    return [Sent({"id": effect.payload["key"]}) for effect in effects]


def _create_orders(connection: Connection, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
    """Add the orders whose supplier is known; one that is there already stays as it is."""
    suppliers = set(
        connection.execute(
            text("select key from erp_suppliers where key = any(:keys)"),
            {"keys": [effect.payload["supplier"] for effect in effects]},
        ).scalars()
    )
    outcomes: list[Outcome] = []
    for effect in effects:
        key, supplier = effect.payload["key"], effect.payload["supplier"]
        if not effect.payload["lines"]:
            outcomes.append(Failed(f"the order {key} has no lines", permanent=True))
        elif supplier not in suppliers:
            outcomes.append(Failed(f"the ERP has no supplier {supplier}", permanent=True))
        else:
            outcomes.append(Sent({"id": key, "number": key}))
    good = {e.payload["key"]: e.payload for e, o in zip(effects, outcomes, strict=True) if isinstance(o, Sent)}
    connection.execute(
        text("""
            insert into erp_purchase_orders (key, number, supplier, document)
            select key, key, supplier, document
            from jsonb_to_recordset(:orders) as v(key text, supplier text, document jsonb) order by key
            on conflict do nothing"""),
        {"orders": Jsonb([{"key": key, "supplier": p["supplier"], "document": p} for key, p in good.items()])},
    )
    return outcomes


def _cancel_orders(connection: Connection, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
    """Cancel the orders that nothing hangs on."""
    orders = _orders(connection, [effect.payload["key"] for effect in effects])
    outcomes: list[Outcome] = []
    for effect in effects:
        key = effect.payload["key"]
        order = orders.get(key)
        if order is None:
            outcomes.append(_no_order(key))
        elif order.keys:
            outcomes.append(Failed(f"the order {key} has receipts or invoices and stays", permanent=True))
        else:
            outcomes.append(Sent({"id": key}))
    connection.execute(
        text("update erp_purchase_orders set state = 'cancelled' where key = any(:keys)"),
        {"keys": [e.payload["key"] for e, o in zip(effects, outcomes, strict=True) if isinstance(o, Sent)]},
    )
    return outcomes


def _move_goods(connection: Connection, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
    """Add receipts or returns, each against its order as it stands after those before it."""
    orders = _orders(connection, [effect.payload["order"] for effect in effects])
    outcomes = [_move(orders.get(effect.payload["order"]), effect) for effect in effects]
    new = _add(connection, effects, outcomes, lambda effect: KINDS[effect.operation])
    change_stock(connection, [change for one in new for change in _stock_changes(one)])
    return outcomes


def _move(order: _Order | None, effect: PendingEffect) -> Outcome:
    key, kind = effect.payload["key"], KINDS[effect.operation]
    if order is None:
        return _no_order(effect.payload["order"])
    if key not in order.keys:
        if problem := _problem(order, effect.payload, kind):
            return Failed(problem, permanent=True)
        order.add(key, kind, effect.payload["lines"])
    return Sent({"id": key, "number": key})


def _stock_changes(document: Json) -> Iterator[tuple[str, str, str, Decimal]]:
    """Give what a receipt or a return changes at its location: of those lines that say how much, in the base unit."""
    payload, sign = document["document"], -1 if document["kind"] == "return" else 1
    for line in payload["lines"] if payload.get("location") else ():
        if line.get("item") and line.get("stock_quantity"):
            yield payload["location"], line["item"], line.get("lot") or "", sign * Decimal(str(line["stock_quantity"]))


def _problem(order: _Order, payload: Json, kind: str) -> str | None:
    """Say why goods cannot move as `payload` tells; None when they can."""
    if order.state == "cancelled":
        return f"the order {payload['order']} is cancelled"
    if not payload["lines"]:
        return f"{payload['key']} has no lines"
    moved: dict[int, Decimal] = defaultdict(Decimal)
    for line in payload["lines"]:
        number, quantity = int(line["order_line"]), Decimal(str(line["quantity"]))
        if number not in order.lines:
            return f"the order {payload['order']} has no line {number}"
        if not quantity > 0:
            return f"the quantity {quantity} of line {number} is not positive"
        moved[number] += quantity
    for number, quantity in moved.items() if kind == "return" else ():
        if quantity > order.on_hand[number]:
            return f"{quantity} of line {number} cannot go back: {order.on_hand[number]} are there"
    return None


def _book(connection: Connection, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
    """Add invoices and credit notes; a number that the supplier's other document has is refused."""
    orders = _orders(connection, [order for effect in effects if (order := effect.payload.get("order"))])
    outcomes: list[Outcome] = [
        _no_order(order)
        if (order := effect.payload.get("order")) and order not in orders
        else Sent({"id": effect.payload["key"], "number": effect.payload["key"]})
        for effect in effects
    ]
    _add(connection, effects, outcomes, lambda effect: effect.payload["kind"])
    documents = [
        {"key": effect.payload["key"], "document": effect.payload}
        for effect, outcome in zip(effects, outcomes, strict=True)
        if isinstance(outcome, Sent)
    ]
    booked: dict[str, str | None] = {
        row.key: row.booked for row in connection.execute(INVOICES, {"documents": Jsonb(documents)})
    }
    for position, effect in enumerate(effects):
        other = booked.get(key := effect.payload["key"])
        if isinstance(outcomes[position], Sent) and other != key:
            outcomes[position] = Failed(
                f"the supplier's {effect.payload['number']} is booked already, as {other}", permanent=True
            )
    return outcomes


def _add(
    connection: Connection,
    effects: Sequence[PendingEffect],
    outcomes: Sequence[Outcome],
    kind: Callable[[PendingEffect], str],
) -> list[Json]:
    """Insert the documents of the effects that are Sent, and return those that are new."""
    documents = {
        effect.payload["key"]: {
            "key": effect.payload["key"],
            "kind": kind(effect),
            "order_key": effect.payload.get("order"),
            "document": effect.payload,
        }
        for effect, outcome in zip(effects, outcomes, strict=True)
        if isinstance(outcome, Sent)
    }
    new = connection.execute(NEW_DOCUMENTS, {"documents": Jsonb(list(documents.values()))}).scalars()
    return [documents[key] for key in new]


def _orders(connection: Connection, keys: Sequence[str]) -> dict[str, _Order]:
    """Lock and return those of the orders that exist, with what happened to them."""
    found: dict[str, _Order] = {}
    for row in connection.execute(ORDERS, {"keys": list(keys)}):
        order = _Order(row.number, row.state, {int(line["line"]) for line in row.document["lines"]})
        for document in row.documents:
            order.add(document["key"], document["kind"], document["lines"] or [])
        found[row.key] = order
    return found


def _no_order(key: str) -> Failed:
    """Say that an order is not there; it may be on its way."""
    return Failed(f"the ERP has no order {key}", retry_after=PARENT_MISSING)


_WRITERS: Mapping[str, Callable[[Connection, Sequence[PendingEffect]], Sequence[Outcome]]] = {
    "upsert_supplier": _upsert_suppliers,
    "create_purchase_order": _create_orders,
    "cancel_purchase_order": _cancel_orders,
    "receive_goods": _move_goods,
    "return_goods": _move_goods,
    "book_invoice": _book,
    "upsert_product": upsert_products,
    "move_stock": move_stock,
}
