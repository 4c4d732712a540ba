"""Stock in Tryton: products, what moves without an order, and what is there.

What moves between places of the company, or is found, lost, scrapped or consumed, is an internal shipment. What comes
or goes outside without an order is a shipment of the company's own party, for Tryton wants one. Lots stay in Waybill.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from include.integrations.systems import Json
from include.integrations.tryton.client import Record, Refused, TrytonClient
from include.integrations.tryton.documents import INTERNAL, OUT, OUT_RETURN, RETURN, SHIPMENT, Documents, is_ready
from include.integrations.tryton.records import Location, NotNow, Records, Unmapped

MOST_MOVES = 100
"""Moves of one document; a request of more becomes several, for each call must end within the time of a request."""
LONGEST_TURN = 15.0  # seconds after which no further document of an effect is begun in one delivery
PRICE = Decimal("0.0001")
"""Digits of Tryton's prices, unless its configuration says otherwise."""
OUR_OWN = {"storage", "lost_found"}
"""Types of places between which an internal shipment goes."""
ASSIGN = "assign"
BUTTONS: Mapping[str, Mapping[str, Sequence[str]]] = {
    INTERNAL: {
        "request": ("draft", "wait", ASSIGN, "do"), "draft": ("wait", ASSIGN, "do"), "waiting": (ASSIGN, "do"),
        "assigned": ("do",),
    },
    OUT: {
        "draft": ("wait", ASSIGN, "pack", "do"), "waiting": (ASSIGN, "pack", "do"), "assigned": ("pack", "do"),
        "picked": ("pack", "do"), "packed": ("do",), "shipped": ("do",),
    },
    OUT_RETURN: {"draft": ("receive",), "received": ("do",)},
    SHIPMENT: {"draft": ("receive",), "received": ("do",)},
    RETURN: {"draft": ("wait", ASSIGN, "do"), "waiting": (ASSIGN, "do"), "assigned": ("do",)},
}  # fmt: skip
"""State -> the buttons that lead on from it to the end."""
MOVES = {INTERNAL: "moves", RETURN: "moves", OUT: "outgoing_moves", OUT_RETURN: "incoming_moves",
         SHIPMENT: "incoming_moves"}  # fmt: skip
"""The field of each document that its moves are given in."""


@dataclass
class _Document:
    """One document that an effect becomes: a part of what goes from one place to another."""

    model: str
    key: str
    source: Location
    destination: Location
    moves: list[_Move] = field(default_factory=list)


@dataclass(frozen=True)
class _Move:
    """What of an item moves, of all lots; at one cost, where a supplier is paid or pays."""

    item: str
    title: str
    unit: str | None
    unit_cost: Decimal | None
    quantity: Decimal


class Stock:
    """The stock of one company."""

    def __init__(self, client: TrytonClient, records: Records, documents: Documents) -> None:
        self._client = client
        self._records = records
        self._documents = documents

    def upsert_product(self, payload: Json) -> Json:
        """Add a product that Tryton does not know; what it knows of one is the ERP's to say."""
        unit = self._records.unit(payload.get("unit"))
        cost = payload.get("standard_cost")
        found = self._records.product(
            payload["key"], payload.get("title") or "", unit, cost=None if cost is None else _price(Decimal(cost))
        )
        return {"id": str(found)}

    def move(self, payload: Json) -> Json:
        """Make the documents of one effect, each once, and bring each to its end; very many in several turns."""
        wanted = self._wanted(payload)
        there = self._there(wanted)
        answers = []
        began = time.monotonic()
        for number, document in enumerate(wanted):
            if time.monotonic() - began > LONGEST_TURN:
                raise NotNow(f"tryton has {number} of {len(wanted)} shipments of {payload['key']}; the rest follows", 0)
            found = there.get(document.key)
            if found is None:
                self._client.create(document.model, self._values(document, payload))
                found = self._documents.only(document.model, document.key)
            if found["state"] == "cancelled":
                raise Unmapped(f"{document.key} is cancelled in Tryton")
            self._finish(document.model, found)
            answers.append(self._documents.numbered(document.model, found))
        return {"id": ",".join(one["id"] for one in answers), "number": ", ".join(one["number"] for one in answers)}

    def standing(self, payload: Json) -> tuple[int, int, int]:
        """Return how many of an effect's documents are done, are there, and are to be."""
        wanted = self._wanted(payload)
        there = self._there(wanted)
        done = sum(is_ready(one.model, there[one.key]) for one in wanted if one.key in there)
        return done, len(there), len(wanted)

    def read(self, locations: Sequence[str]) -> Mapping[str, Json]:
        """Return what is in each of the places and below it, by item.

        :raises Refused: when Tryton has no such place; half an answer would look like missing stock.
        """
        found: dict[str, Json] = {}
        for code in locations:
            try:
                place = self._records.location({"code": code, "kind": "internal"})
            except Unmapped as error:
                raise Refused(self._client.name, str(error)) from None
            rows = self._client.search_read(
                "product.product",
                [("quantity", "!=", 0), ("code", "!=", None), ("type", "in", ["goods", "assets"])],
                ["code", "quantity"],
                inactive=True,
                context={"locations": [place.id], "with_childs": True, "stock_skip_warehouse": True},
            )
            for row in rows:
                quantity = Decimal(str(row["quantity"])).normalize()
                record = {"item": row["code"], "location": code, "lot": "", "quantity": f"{quantity:f}"}
                found[f"{row['code']}|{code}|"] = record
        return found

    def read_products(self, keys: Sequence[str]) -> Mapping[str, Json]:
        """Return what Tryton knows of those products that it has."""
        rows = self._client.search_read(
            "product.product",
            [("code", "in", list(keys))],
            ["code", "name", "active", "default_uom.symbol", "cost_price"],
            inactive=True,
        )
        return {
            row["code"]: {
                "title": row["name"],
                "unit": row["default_uom."]["symbol"],
                "group": None,
                "tracking": "none",
                "standard_cost": None if row["cost_price"] is None else f"{row['cost_price'].normalize():f}",
                "active": row["active"],
            }
            for row in rows
        }

    # --- documents

    def _wanted(self, payload: Json) -> list[_Document]:
        """Return the documents that an effect becomes, the same ones under the same keys each time."""
        documents: list[_Document] = []
        for (source, destination), moves in _by_way(payload["lines"]).items():
            from_, to = self._records.location(_place(source)), self._records.location(_place(destination))
            way = f"{payload['key']} {source[0]}>{destination[0]}"
            model = _model(from_, to, way)
            for part, start in enumerate(range(0, len(moves), MOST_MOVES), start=1):
                key = way if part == 1 else f"{way} {part}"
                documents.append(_Document(model, key, from_, to, moves[start : start + MOST_MOVES]))
        if not documents:
            raise Unmapped(f"{payload['key']} has no lines")
        return documents

    def _there(self, wanted: Sequence[_Document]) -> dict[str, Record]:
        keys: dict[str, list[str]] = {}
        for document in wanted:
            keys.setdefault(document.model, []).append(document.key)
        return {key: one for model, some in keys.items() for key, one in self._documents.find_all(model, some).items()}

    def _values(self, document: _Document, payload: Json) -> Record:
        model, from_, to = document.model, document.source, document.destination
        values: Record = {
            "company": self._records.company,
            "reference": document.key,
            "effective_date": date.fromisoformat(payload["moved_on"]),
        }
        if model in (INTERNAL, RETURN):
            values |= {"from_location": from_.id, "to_location": to.id}
        if model != INTERNAL:
            own = self._records.own_party()
            ours = from_ if model in (OUT, RETURN) else to
            if model in (SHIPMENT, RETURN):
                values["supplier"], outside = own.id, own.supplier_location
            else:
                values["customer"], outside = own.id, own.customer_location
            if model == OUT:
                values["delivery_address"] = own.address
            if model == RETURN:
                values["to_location"] = outside
            else:
                # one and the same place for storage and door: goods go there at once, without a second move
                door = "warehouse_output" if model == OUT else "warehouse_input"
                values |= {"warehouse": self._warehouse(ours), "warehouse_storage": ours.id, door: ours.id}
            ends = (ours.id, outside) if model in (OUT, RETURN) else (outside, ours.id)
        else:
            ends = (from_.id, to.id)
        moves = [self._move(one, ends, priced=model != INTERNAL) for one in document.moves]
        return {**values, MOVES[model]: [("create", moves)]}

    def _warehouse(self, place: Location) -> int:
        if place.warehouse is None:
            raise Unmapped(f"the location {place.code!r} belongs to no warehouse in Tryton: give it a parent there")
        return place.warehouse

    def _move(self, one: _Move, ends: tuple[int, int], *, priced: bool) -> Record:
        unit = self._records.unit(one.unit)
        values: Record = {
            "company": self._records.company,
            "product": self._records.product(one.item, one.title, unit),
            "unit": unit,
            "quantity": float(one.quantity),
            "from_location": ends[0],
            "to_location": ends[1],
        }
        if priced:
            values |= {"unit_price": _price(one.unit_cost or Decimal()), "currency": self._records.own_currency()}
        return values

    def _finish(self, model: str, document: Record) -> None:
        for button in BUTTONS[model].get(document["state"], ()):
            if button == ASSIGN:
                self._assign(model, document["id"])
            else:
                self._client.button(model, button, [document["id"]])

    def _assign(self, model: str, document: int) -> None:
        """Set the goods aside; where Tryton thinks there are too few, by force, for they have moved already."""
        self._client.button(model, "assign_try", [document])
        (now,) = self._client.search_read(model, [("id", "=", document)], ["state"])
        if now["state"] == "waiting":
            self._client.button(model, "assign_force", [document])


def _by_way(lines: Sequence[Json]) -> dict[tuple[tuple[str, str], tuple[str, str]], list[_Move]]:
    """Return what moves from where to where, as (code, kind), summed over lots and equal lines, in one order."""
    summed: dict[tuple[Any, ...], Decimal] = {}
    for line in lines:
        source, destination = ((line[end]["code"], line[end]["kind"]) for end in ("from", "to"))
        cost = line.get("unit_cost") if "supplier" in (source[1], destination[1]) else None
        key = (source, destination, line["item"], line.get("title") or "", line.get("unit"), cost)
        summed[key] = summed.get(key, Decimal()) + Decimal(str(line["quantity"]))
    ways: dict[tuple[tuple[str, str], tuple[str, str]], list[_Move]] = {}
    for (source, destination, item, title, unit, cost), quantity in _in_order(summed):
        move = _Move(item, title, unit, None if cost is None else Decimal(str(cost)), quantity)
        ways.setdefault((source, destination), []).append(move)
    return ways


def _in_order(summed: Mapping[tuple[Any, ...], Decimal]) -> Iterator[tuple[tuple[Any, ...], Decimal]]:
    yield from sorted(summed.items(), key=lambda one: tuple(str(part) for part in one[0]))


def _place(named: tuple[str, str]) -> Json:
    return {"code": named[0], "kind": named[1]}


def _model(source: Location, destination: Location, way: str) -> str:
    if source.type in OUR_OWN and destination.type in OUR_OWN:
        return INTERNAL
    models = {
        ("supplier", "storage"): SHIPMENT, ("storage", "supplier"): RETURN,
        ("storage", "customer"): OUT, ("customer", "storage"): OUT_RETURN,
    }  # fmt: skip
    model = models.get((source.type, destination.type))
    if model is None:
        raise Unmapped(f"{way}: Tryton has no document from a {source.type} to a {destination.type} location")
    return model


def _price(amount: Decimal) -> Decimal:
    return amount.quantize(PRICE)
