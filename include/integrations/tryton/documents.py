"""Documents in Tryton by Waybill's key: found, each once, and answered for when they are done.

Each carries the key in a field that Tryton stores and searches. Only a draft is ever created by a single call, and a
draft that a lost call left behind is deleted. What a document says is the provider's part.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from include.integrations.http import UnknownOutcome
from include.integrations.systems import Json
from include.integrations.tryton.client import Record, TrytonClient
from include.integrations.tryton.records import Records, Unmapped

log = logging.getLogger(__name__)

PURCHASE, INVOICE = "purchase.purchase", "account.invoice"
SHIPMENT, RETURN = "stock.shipment.in", "stock.shipment.in.return"
INTERNAL, OUT, OUT_RETURN = "stock.shipment.internal", "stock.shipment.out", "stock.shipment.out.return"

KEYS = {
    PURCHASE: "reference", SHIPMENT: "reference", RETURN: "reference", INVOICE: "description",
    INTERNAL: "reference", OUT: "reference", OUT_RETURN: "reference",
}  # fmt: skip
"""The field of each document that holds Waybill's key."""
ADVANCE = {
    PURCHASE: ("cancelled", "draft", "quotation", "confirmed", "processing", "done"),
    SHIPMENT: ("cancelled", "draft", "received", "done"),
    RETURN: ("cancelled", "draft", "waiting", "assigned", "done"),
    INVOICE: ("cancelled", "draft", "validated", "posted", "paid"),
    INTERNAL: ("cancelled", "request", "draft", "waiting", "assigned", "packed", "shipped", "done"),
    OUT: ("cancelled", "draft", "waiting", "assigned", "picked", "packed", "shipped", "done"),
    OUT_RETURN: ("cancelled", "draft", "received", "done"),
}
"""States in the order in which a document passes them."""
READY = {
    PURCHASE: "confirmed", SHIPMENT: "done", RETURN: "done", INVOICE: "posted", INTERNAL: "done", OUT: "done",
    OUT_RETURN: "done",
}  # fmt: skip
"""The state from which on a document is what Waybill asked for."""
FURTHER: Mapping[str, Sequence[str]] = {PURCHASE: ("party", "currency", "invoice_state", "shipment_state")}
"""What is read of a document beside its number, its key and its state."""


class Documents:
    """The documents of one company."""

    def __init__(self, client: TrytonClient, records: Records) -> None:
        self._client = client
        self._records = records

    def having(self, model: str, keys: Sequence[str]) -> list[Record]:
        """Return every document that has one of the keys."""
        fields = ["number", KEYS[model], "state", *FURTHER.get(model, ())]
        domain: list[Any] = [(KEYS[model], "in", list(keys)), ("company", "=", self._records.company)]
        if model == INVOICE:
            domain.append(("type", "=", "in"))
        return self._client.search_read(model, domain, fields)

    def find(self, model: str, key: str) -> Record | None:
        """Return the document of a key. Of several it is the furthest, then the first; other drafts are deleted."""
        return self.find_all(model, [key]).get(key)

    def find_all(self, model: str, keys: Sequence[str]) -> dict[str, Record]:
        """Return the documents of several keys, each as `find` does."""
        best: dict[str, Record] = {}
        strays: dict[str, list[int]] = {}
        for one in sorted(self.having(model, keys), key=precedence(model)) if keys else ():
            key = one[KEYS[model]]
            if best.setdefault(key, one) is not one and one["state"] == "draft":
                strays.setdefault(key, []).append(one["id"])
        for key, drafts in strays.items():
            log.warning("tryton has %s drafts too many of %s %s: they are deleted", len(drafts), model, key)
            self._discard(model, drafts)
        return best

    def only(self, model: str, key: str) -> Record:
        """Return the document that was just created, or the one that was created at the same time and comes first.

        :raises UnknownOutcome: when there is none.
        """
        found = self.find(model, key)
        if found is None:
            raise UnknownOutcome(self._client.name, f"{model} {key} was created, and is not there")
        return found

    def numbered(self, model: str, document: Record) -> Json:
        """Return the answer of a document that went on to its end, with the number that it got on its way.

        :raises Unmapped: when Tryton left it where it was, as it does without a word where goods are lacking.
        """
        if document["number"] and is_ready(model, document):
            return answer(document)
        (found,) = self._client.search_read(model, [("id", "=", document["id"])], ["number", "state"])
        if not is_ready(model, found):
            raise Unmapped(
                f"{model} {found['number'] or document['id']} stays {found['state']} in Tryton: are there enough goods,"
                " and may Waybill's user force their assignment? Finish it there, then release"
            )
        return answer(found)

    def _discard(self, model: str, drafts: Sequence[int]) -> None:
        """Delete drafts; shipments may not be deleted, so they are emptied and cancelled."""
        if model in (PURCHASE, INVOICE):
            self._client.call(f"model.{model}.delete", list(drafts))
            return
        for row in self._client.search_read(model, [("id", "in", list(drafts))], ["moves"]):
            self._client.write(model, [row["id"]], {"moves": [("delete", row["moves"])]})
        self._client.button(model, "cancel", drafts)


def answer(document: Record) -> Json:
    """Return what a later step may need of a document."""
    return {"id": str(document["id"]), "number": document["number"]}


def precedence(model: str) -> Callable[[Record], tuple[int, int]]:
    """Return the order of documents that have one key: the furthest, and of those the first."""
    return lambda one: (-_advance(model, one), one["id"])


def is_ready(model: str, document: Record) -> bool:
    """Tell whether a document is what Waybill asked for."""
    return _advance(model, document) >= ADVANCE[model].index(READY[model])


def _advance(model: str, document: Record) -> int:
    return ADVANCE[model].index(document["state"])
