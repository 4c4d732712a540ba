"""The Tryton provider of the `erp` role: suppliers, purchases, their shipments, and supplier invoices.

Each record carries Waybill's key and is looked for by it before it is made (documents.py); stock that moves without an
order is stock.py's part.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from include.integrations.http import SystemTrouble, Unavailable, UnknownOutcome, mask
from include.integrations.systems import Failed, Json, Operation, Outcome, PendingEffect, Sent, Settle, Unknown
from include.integrations.tryton.client import Record, Refused, TrytonClient
from include.integrations.tryton.documents import (
    INVOICE,
    PURCHASE,
    RETURN,
    SHIPMENT,
    Documents,
    answer,
    is_ready,
    precedence,
)
from include.integrations.tryton.records import NotNow, Records, Settings, Unmapped
from include.integrations.tryton.stock import Stock

log = logging.getLogger(__name__)

LONGEST_APPLY = 60.0  # seconds that one delivery may take: the ledger's lease is two minutes
LAST_START = 40.0  # seconds after which no further effect of a delivery is begun
PARENT_MISSING = 60.0  # seconds until a document is tried again whose order is not there yet
SOON = 5.0  # seconds until a half-made document is finished, or a call goes again that another one was in the way of
CENT = Decimal("0.01")

OPERATIONS = (
    Operation("upsert_supplier", Settle.LOOKUP),
    Operation("upsert_product", Settle.LOOKUP),
    Operation("create_purchase_order", Settle.LOOKUP, compensation="cancel_purchase_order"),
    Operation("receive_goods", Settle.LOOKUP, compensation="return_goods"),
    Operation("return_goods", Settle.LOOKUP),
    Operation("book_invoice", Settle.LOOKUP),
    Operation("cancel_purchase_order", Settle.LOOKUP),
    Operation("move_stock", Settle.LOOKUP),
)
DOCUMENTS = {
    "create_purchase_order": PURCHASE, "receive_goods": SHIPMENT, "return_goods": RETURN, "book_invoice": INVOICE
}  # fmt: skip
DECIDED = ("check_move_quantity", "done", "invoice_taxes", "effective_date_future")
"""Warnings about what was decided in Waybill: more than was ordered came, within its tolerance; goods go back; taxes
are the invoice's own; it is tomorrow there already. At any other one a person must look, so it is a refusal."""


class TrytonErp:
    """Delivers purchasing's documents to a company in Tryton."""

    name = "tryton"
    batch_size = 50
    operations: Mapping[str, Operation] = {operation.name: operation for operation in OPERATIONS}

    def __init__(self, client: TrytonClient, settings: Settings | None = None) -> None:
        self._client = client
        self._settings = settings or Settings()
        self._records = Records(client, self._settings)
        self._documents = Documents(client, self._records)
        self._stock = Stock(client, self._records, self._documents)
        self._makers: Mapping[str, Callable[[Json], Json]] = {
            "upsert_supplier": self._upsert_supplier,
            "create_purchase_order": self._order,
            "cancel_purchase_order": self._cancel,
            "receive_goods": self._receive,
            "return_goods": self._return,
            "book_invoice": self._book,
            "upsert_product": self._stock.upsert_product,
            "move_stock": self._stock.move,
        }

    def close(self) -> None:
        """Log out."""
        self._client.close()

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Make one document after another; one outcome each, in the same order."""
        return self._each(effects, lambda effect: Sent(self._makers[operation](effect.payload)))

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Ask Tryton about each effect. What it has not got may still be under way there, and is not sent at once."""
        return self._each(effects, lambda effect: self._settled(operation, effect.payload))

    def read(self, kind: str, keys: Sequence[str]) -> Mapping[str, Json]:
        """Return what Tryton knows now of each supplier or order among `keys`.

        :raises SystemTrouble: when Tryton cannot be asked.
        """
        if kind == "supplier":
            return self._read_suppliers(keys)
        if kind == "order":
            return self._read_orders(keys)
        if kind == "product":
            return self._stock.read_products(keys)
        if kind == "stock":
            return self._stock.read(keys)
        raise ValueError(f"an ERP is read for a supplier, an order, a product or stock, not for a {kind}")

    # --- outcomes

    def _each(self, effects: Sequence[PendingEffect], act: Callable[[PendingEffect], Outcome]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        began = time.monotonic()
        away: Outcome | None = None
        with self._client.within(LONGEST_APPLY):
            for effect in effects:
                if away is None and time.monotonic() - began > LAST_START:
                    away = Failed("tryton: not begun in this delivery", retry_after=0)
                if away is not None:
                    outcomes.append(away)
                    continue
                outcome, reachable = self._one(effect, act)
                outcomes.append(outcome)
                away = None if reachable else outcome
        return outcomes

    def _one(self, effect: PendingEffect, act: Callable[[PendingEffect], Outcome]) -> tuple[Outcome, bool]:
        """Return what became of an effect, and whether the next one may be tried."""
        try:
            with self._client.answering(*DECIDED):
                return act(effect), True
        except (SystemTrouble, NotNow, Unmapped) as error:
            self._records.forget()  # it may come of something that was changed there since
            return _outcome(error), not isinstance(error, Unavailable)
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
            log.exception("an effect of %s cannot be carried out", effect.operation)
            return Failed(mask(f"tryton: {effect.operation}: {error!r}"), permanent=True), True

    def _settled(self, operation: str, payload: Json) -> Outcome:
        if operation in ("upsert_supplier", "upsert_product"):
            return Sent(self._makers[operation](payload))  # a code is unique in Tryton: done twice is done once
        if operation == "move_stock":
            return self._settled_move(payload)
        if operation == "cancel_purchase_order":
            order = self._documents.find(PURCHASE, payload["key"])
            if order is not None and _cancelled(order):
                return Sent({"id": str(order["id"])})
            return Failed("tryton: the order is not cancelled yet", retry_after=SOON)
        return self._settled_document(DOCUMENTS[operation], payload["key"])

    def _settled_document(self, model: str, key: str) -> Outcome:
        found = self._documents.find(model, key)
        if found is None:
            wait = self._settings.under_way
            return Failed("tryton has not got it; it is sent again when no call can be under way", retry_after=wait)
        if is_ready(model, found):
            return Sent(answer(found))
        return Failed("tryton has it half done; it is finished", retry_after=SOON)

    def _settled_move(self, payload: Json) -> Outcome:
        done, there, all_of_them = self._stock.standing(payload)
        if done == all_of_them:
            return Sent({"id": payload["key"]})
        if there == all_of_them:
            return Failed("tryton has it half done; it is finished", retry_after=SOON)
        wait = self._settings.under_way
        return Failed("tryton has not got all of it; it is sent again when no call can be under way", retry_after=wait)

    # --- suppliers

    def _upsert_supplier(self, payload: Json) -> Json:
        """Add what Tryton does not know of a supplier; what it knows is the ERP's to say."""
        found = self._client.search_read(
            "party.party",
            [("code", "=", payload["key"])],
            ["addresses", "supplier_currency", "contact_mechanisms.type", "identifiers"],
            inactive=True,
        )
        if not found:
            return {"id": str(self._create_supplier(payload))}
        party = found[0]
        missing: Record = {}
        has_mail = any(one["type"] == "email" for one in party["contact_mechanisms."] or ())
        for name, there in (
            ("addresses", party["addresses"]),
            ("contact_mechanisms", has_mail),
            ("identifiers", party["identifiers"]),
            ("supplier_currency", party["supplier_currency"]),
        ):
            if not there and (wanted := self._supplier_values(payload).get(name)):
                missing[name] = wanted
        if missing:
            self._client.write("party.party", [party["id"]], missing)
        return {"id": str(party["id"])}

    def _create_supplier(self, payload: Json) -> int:
        values = {"code": payload["key"], "name": payload["name"], **self._supplier_values(payload)}
        return self._client.create("party.party", values)

    def _supplier_values(self, payload: Json) -> Record:
        values: Record = {"addresses": [("create", [{"country": self._records.country(payload.get("country"))}])]}
        if email := payload.get("email"):
            values["contact_mechanisms"] = [("create", [{"type": "email", "value": email}])]
        if tax_id := payload.get("tax_id"):
            values["identifiers"] = [("create", [{"code": tax_id}])]
        if currency := payload.get("currency"):
            values["supplier_currency"] = self._records.currency(currency)
        return values

    def _supplier(self, key: str) -> Record:
        found = self._client.search_read(
            "party.party", [("code", "=", key)], ["addresses", "supplier_payment_term", "supplier_location"]
        )
        if not found:
            raise Unmapped(f"Tryton has no active party with the code {key!r}")
        if not found[0]["addresses"]:
            raise Unmapped(f"the party {key!r} has no address in Tryton")
        return found[0]

    def _read_suppliers(self, keys: Sequence[str]) -> Mapping[str, Json]:
        rows = self._client.search_read(
            "party.party",
            [("code", "in", list(keys))],
            ["code", "name", "active", "lang.code", "supplier_currency.code", "addresses.country.code",
             "contact_mechanisms.type", "contact_mechanisms.value", "categories.name"],
            inactive=True,
        )  # fmt: skip
        return {row["code"]: self._as_supplier(row) for row in rows}

    def _as_supplier(self, row: Record) -> Json:
        mails = [one["value"] for one in row["contact_mechanisms."] or () if one["type"] == "email"]
        countries = [one["country."]["code"] for one in row["addresses."] or () if one.get("country.")]
        categories = {one["name"] for one in row["categories."] or ()}
        return {
            "name": row["name"],
            "active": row["active"],
            "blocked": self._settings.blocked in categories,
            "email": mails[0] if mails else None,
            "currency": (row.get("supplier_currency.") or {}).get("code"),
            "country": countries[0] if countries else None,
            "orders_by_mail": self._settings.by_mail in categories,
            "language": (row.get("lang.") or {}).get("code"),
        }

    # --- orders

    def _read_orders(self, keys: Sequence[str]) -> Mapping[str, Json]:
        best: dict[str, Record] = {}
        for row in sorted(self._documents.having(PURCHASE, keys), key=precedence(PURCHASE), reverse=True):
            best[row["reference"]] = row
        return {
            key: {**answer(row), "state": "cancelled" if _cancelled(row) else row["state"]} for key, row in best.items()
        }

    def _order(self, payload: Json) -> Json:
        order = self._documents.find(PURCHASE, payload["key"])
        if order is None:
            self._client.create(PURCHASE, self._order_values(payload))
            order = self._documents.only(PURCHASE, payload["key"])
        if order["state"] == "cancelled":
            raise Unmapped(f"the order {payload['key']} is cancelled in Tryton")
        if order["state"] == "draft":
            self._client.button(PURCHASE, "quote", [order["id"]])
        if order["state"] in ("draft", "quotation"):
            self._client.button(PURCHASE, "confirm", [order["id"]])
        return self._documents.numbered(PURCHASE, order)

    def _order_values(self, payload: Json) -> Record:
        supplier = self._supplier(payload["supplier"])
        values: Record = {
            "company": self._records.company,
            "reference": payload["key"],
            "description": payload.get("reference"),
            "party": supplier["id"],
            "invoice_address": supplier["addresses"][0],
            "currency": self._records.currency(payload["currency"]),
            "purchase_date": date.fromisoformat(payload["date"]),
            "payment_term": supplier["supplier_payment_term"],
            "warehouse": self._records.place().warehouse,
            "invoice_method": "manual",
            "lines": [("create", [self._order_line(line) for line in payload["lines"]])],
        }
        if payload.get("needed_by"):
            values["delivery_date"] = date.fromisoformat(payload["needed_by"])
        return values

    def _order_line(self, line: Json) -> Record:
        unit = self._records.unit(line.get("unit"))
        tax = self._records.tax(line["tax_rate"])
        return {
            "sequence": int(line["line"]),
            "product": self._records.product(line.get("item"), line.get("description") or "", unit),
            "unit": unit,
            "quantity": float(Decimal(line["quantity"])),
            "unit_price": Decimal(line["unit_price"]),
            "description": line.get("description"),
            "note": _note(line),
            "taxes": [("add", [tax])] if tax else [],
        }

    def _cancel(self, payload: Json) -> Json:
        """Cancel an order; one that is under way expects nothing any more, for Tryton does not cancel those."""
        order = self._documents.find(PURCHASE, payload["key"])
        if order is None:
            raise NotNow(f"tryton has no order {payload['key']}", PARENT_MISSING)
        if _cancelled(order):
            return {"id": str(order["id"])}
        if order["state"] == "confirmed":
            self._client.button(PURCHASE, "draft", [order["id"]])
        if order["state"] in ("draft", "quotation", "confirmed"):
            self._client.button(PURCHASE, "cancel", [order["id"]])
            return {"id": str(order["id"])}
        moves = self._moves(order["id"])
        if order["invoice_state"] != "none" or any(move["state"] == "done" for move in moves):
            raise Unmapped(f"the order {payload['key']} has receipts or invoices in Tryton and stays")
        if open_moves := [move["id"] for move in moves if move["state"] != "cancelled"]:
            self._client.button("stock.move", "cancel", open_moves)
        self._expect_nothing(order["id"], [move["id"] for move in moves])
        return {"id": str(order["id"])}

    def _expect_nothing(self, order: int, moves: Sequence[int]) -> None:
        """Tell Tryton, by the wizard that asks for it, that cancelled moves are not to be made anew."""
        wizard = "wizard.purchase.handle.shipment.exception"
        session, *_ = self._client.call(f"{wizard}.create")
        answer = {"ask": {"domain_moves": list(moves), "ignore_moves": list(moves), "recreate_moves": []}}
        active = {"active_model": PURCHASE, "active_id": order, "active_ids": [order]}
        self._client.call(f"{wizard}.execute", session, answer, "handle", context=active)
        self._client.call(f"{wizard}.delete", session)

    # --- goods

    def _receive(self, payload: Json) -> Json:
        shipment = self._documents.find(SHIPMENT, payload["key"])
        if shipment is None:
            values, seen = self._shipment_values(payload)
            self._client.create(SHIPMENT, values, seen=seen)
            shipment = self._documents.only(SHIPMENT, payload["key"])
        if shipment["state"] == "cancelled":
            raise Unmapped(f"the shipment {payload['key']} is cancelled in Tryton")
        if shipment["state"] == "draft":
            self._client.button(SHIPMENT, "receive", [shipment["id"]])
        if shipment["state"] in ("draft", "received"):
            self._client.button(SHIPMENT, "do", [shipment["id"]])
        return self._documents.numbered(SHIPMENT, shipment)

    def _shipment_values(self, payload: Json) -> tuple[Record, Mapping[str, str]]:
        """Take the moves that the order expects, in the quantities that came, and add those that it does not.

        :returns: the values, and how the moves stood, for another shipment may take them at the same time.
        """
        order, lines = self._order_lines(payload["order"])
        place = self._records.place()
        expected = {
            int(move["origin"].split(",")[1]): move
            for move in reversed(self._moves(order["id"]))
            if move["state"] == "draft" and move["shipment"] is None
        }
        seen: dict[str, str] = {}
        taken: list[int] = []
        moves: list[Any] = []
        for number, quantity in _by_line(payload["lines"]).items():
            line = _line(lines, number, payload["order"])
            move = expected.get(line["id"])
            if move is not None:
                taken.append(move["id"])
                seen[f"stock.move,{move['id']}"] = move["_timestamp"]
                moves.append(("write", [move["id"]], {"quantity": float(quantity)}))
            else:
                where = {"from_location": place.supplier, "to_location": place.input}
                origin = {"origin": f"purchase.line,{line['id']}"}
                moves.append(("create", [{**self._move(order, line, quantity), **where, **origin}]))
        values: Record = {
            "company": self._records.company,
            "reference": payload["key"],
            "supplier": order["party"],
            "warehouse": place.warehouse,
            "warehouse_input": place.input,
            "warehouse_storage": self._put(payload) or place.storage,
            "effective_date": date.fromisoformat(payload["received_on"]),
            "incoming_moves": [*([("add", taken)] if taken else []), *moves],
        }
        return values, seen

    def _put(self, payload: Json) -> int | None:
        """Return the location that goods of an order were put into, where the receipt names one."""
        if not (code := payload.get("location")):
            return None
        return self._records.location({"code": code, "kind": "internal"}).id

    def _return(self, payload: Json) -> Json:
        shipment = self._documents.find(RETURN, payload["key"])
        if shipment is None:
            self._client.create(RETURN, self._return_values(payload))
            shipment = self._documents.only(RETURN, payload["key"])
        if shipment["state"] == "cancelled":
            raise Unmapped(f"the return {payload['key']} is cancelled in Tryton")
        if shipment["state"] == "draft":
            self._client.button(RETURN, "wait", [shipment["id"]])
        if shipment["state"] in ("draft", "waiting"):
            self._client.button(RETURN, "assign_try", [shipment["id"]])
        if shipment["state"] != "done":
            self._client.button(RETURN, "do", [shipment["id"]])
        return self._documents.numbered(RETURN, shipment)

    def _return_values(self, payload: Json) -> Record:
        order, lines = self._order_lines(payload["order"])
        place = self._records.place()
        storage = self._put(payload) or place.storage
        moves = [
            {**self._move(order, _line(lines, number, payload["order"]), quantity),
             "from_location": storage, "to_location": place.supplier}
            for number, quantity in _by_line(payload["lines"]).items()
        ]  # fmt: skip
        return {
            "company": self._records.company,
            "reference": payload["key"],
            "supplier": order["party"],
            "from_location": storage,
            "to_location": place.supplier,
            "effective_date": date.fromisoformat(payload["received_on"]),
            "moves": [("create", moves)],
        }

    def _move(self, order: Record, line: Record, quantity: Decimal) -> Record:
        return {
            "company": self._records.company,
            "product": line["product"],
            "unit": line["unit"],
            "quantity": float(quantity),
            "unit_price": line["unit_price"],
            "currency": order["currency"],
        }

    def _order_lines(self, key: str) -> tuple[Record, dict[int, Record]]:
        """Return an order that is under way, and its lines by Waybill's numbers."""
        order = self._documents.find(PURCHASE, key)
        if order is None or not is_ready(PURCHASE, order):
            raise NotNow(f"tryton has no confirmed order {key}", PARENT_MISSING)
        rows = self._client.search_read(
            "purchase.line",
            [("purchase", "=", order["id"]), ("type", "=", "line")],
            ["sequence", "product", "unit", "unit_price"],
        )
        return order, {row["sequence"]: row for row in rows}

    def _moves(self, order: int) -> list[Record]:
        return self._client.search_read(
            "stock.move", [("purchase", "=", order)], ["origin", "state", "shipment", "_timestamp"]
        )

    # --- invoices

    def _book(self, payload: Json) -> Json:
        invoice = self._documents.find(INVOICE, payload["key"])
        if invoice is None:
            self._client.create(INVOICE, self._invoice_values(payload))
            invoice = self._documents.only(INVOICE, payload["key"])
        if invoice["state"] == "cancelled":
            raise Unmapped(f"the invoice {payload['key']} is cancelled in Tryton")
        if invoice["state"] in ("draft", "validated"):
            if invoice["state"] == "draft":
                self._agree(invoice["id"], payload)
            self._client.button(INVOICE, "post", [invoice["id"]])
        return self._documents.numbered(INVOICE, invoice)

    def _invoice_values(self, payload: Json) -> Record:
        supplier = self._supplier(payload["supplier"])
        ordered = self._order_lines(payload["order"])[1] if payload.get("order") else {}
        lines = [one for line in payload["lines"] for one in self._invoice_lines(payload, line, ordered)]
        values: Record = {
            "company": self._records.company,
            "type": "in",
            "description": payload["key"],
            "reference": payload["number"],
            "party": supplier["id"],
            "invoice_address": supplier["addresses"][0],
            "currency": self._records.currency(payload["currency"]),
            "journal": self._records.journal(),
            "account": self._payable(supplier["id"]),
            "invoice_date": date.fromisoformat(payload["date"]),
            "payment_term": supplier["supplier_payment_term"],
            "lines": [("create", lines)],
        }
        if payload.get("due_date"):
            values |= {"payment_term": None, "payment_term_date": date.fromisoformat(payload["due_date"])}
        return values

    def _invoice_lines(self, payload: Json, line: Json, ordered: Mapping[int, Record]) -> list[Record]:
        """Return a line, and another one for what its net differs from quantity times price, such as a discount."""
        sign = _sign(payload)
        tax = self._records.tax(line["tax_rate"])
        quantity, price, net = Decimal(line["quantity"]), Decimal(line["unit_price"]), Decimal(line["net"])
        common: Record = {
            "type": "line",
            "account": self._records.account(line["account"]),
            "description": line.get("description"),
            "note": _note(line),
            "taxes": [("add", [tax])] if tax else [],
        }
        first: Record = {**common, "quantity": float(sign * quantity), "unit_price": price}
        if line.get("order_line") and payload.get("order"):
            origin = _line(ordered, int(line["order_line"]), payload["order"])
            first |= {"origin": f"purchase.line,{origin['id']}", "unit": origin["unit"]}
        difference = net - (quantity * price).quantize(net)
        if not difference:
            return [first]
        return [first, {**common, "quantity": float(sign), "unit_price": difference}]

    def _agree(self, invoice: int, payload: Json) -> None:
        """Make the draft's tax and total the supplier's, to the cent a line; refuse what differs by more.

        :raises Unmapped: when Tryton's amounts are others, which would be posted.
        """
        (made,) = self._client.search_read(
            INVOICE, [("id", "=", invoice)], ["untaxed_amount", "tax_amount", "total_amount", "taxes"]
        )
        sign = _sign(payload)
        net, tax, gross = (sign * Decimal(payload[name]) for name in ("net", "tax", "gross"))
        off = tax - made["tax_amount"]
        if off and made["taxes"] and abs(off) <= CENT * len(payload["lines"]) and net == made["untaxed_amount"]:
            (first, *_) = self._client.search_read("account.invoice.tax", [("id", "in", made["taxes"])], ["amount"])
            self._client.write("account.invoice.tax", [first["id"]], {"amount": first["amount"] + off})
            made["total_amount"] += off
        if (net, gross) != (made["untaxed_amount"], made["total_amount"]):
            raise Unmapped(
                f"the invoice {payload['key']} would be {made['untaxed_amount']} net and {made['total_amount']} gross"
                f" in Tryton, and the supplier's says {net} and {gross}: correct or delete the draft there"
            )

    def _payable(self, supplier: int) -> int:
        (found,) = self._client.search_read("party.party", [("id", "=", supplier)], ["account_payable"])
        return int(found["account_payable"] or self._records.payable())


def _outcome(error: SystemTrouble | NotNow | Unmapped) -> Outcome:
    match error:
        case Refused(transient=True):
            return Failed(str(error), retry_after=SOON)
        case NotNow():
            return Failed(str(error), retry_after=error.seconds)
        case UnknownOutcome():
            return Unknown(str(error))
        case Unavailable():
            return Failed(str(error), retry_after=error.retry_after)
        case _:
            return Failed(f"tryton: {error}" if isinstance(error, Unmapped) else str(error), permanent=True)


def _cancelled(order: Record) -> bool:
    """Tell whether nothing comes of an order any more: cancelled, or under way with nothing expected or invoiced."""
    nothing = order["shipment_state"] == order["invoice_state"] == "none"
    return bool(order["state"] == "cancelled" or (order["state"] == "processing" and nothing))


def _note(line: Json) -> str:
    parts = (("cost centre", line.get("cost_centre")), ("account", line.get("account")))
    return ", ".join(f"{name} {value}" for name, value in parts if value)


def _by_line(lines: Sequence[Json]) -> dict[int, Decimal]:
    summed: dict[int, Decimal] = {}
    for line in lines:
        number = int(line["order_line"])
        summed[number] = summed.get(number, Decimal()) + Decimal(line["quantity"])
    return summed


def _line(lines: Mapping[int, Record], number: int, order: str) -> Record:
    if number not in lines:
        raise Unmapped(f"the order {order} has no line {number} in Tryton")
    return lines[number]


def _sign(payload: Json) -> int:
    """A credit note is a supplier invoice with negative quantities; its amounts may be written with either sign."""
    return -1 if payload["kind"] == "credit_note" and Decimal(payload["net"]) > 0 else 1
