"""What Waybill's words are in a Tryton database: accounts, taxes, units, products, places, each looked up once.

It creates products, and nothing else; documents are the provider's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from include.integrations.tryton.client import Refused, TrytonClient

PIECE = "u"  # the symbol of Tryton's own unit

UNITS: Mapping[str, str] = {
    **dict.fromkeys(("", "c62", "ea", "each", "pc", "pce", "pcs", "piece", "pieces", "unit", "units"), PIECE),
    **dict.fromkeys(("st", "stk", "stück"), PIECE),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours", "hur", "std", "stunde", "stunden"), "h"),
    **dict.fromkeys(("d", "day", "days", "tag", "tage"), "d"),
    **dict.fromkeys(("l", "ltr", "litre", "liter"), "l"),
    **dict.fromkeys(("kg", "kgm"), "kg"),
    **dict.fromkeys(("m", "mtr", "metre", "meter"), "m"),
}  # fmt: skip
"""How units are written in requests, with UN/CEFACT's codes -> Tryton's symbol."""


OUTSIDE: Mapping[str, str] = {
    "supplier": "supplier", "customer": "customer", "consumption": "lost_found", "scrap": "lost_found",
    "adjustment": "lost_found",
}  # fmt: skip
"""Kind of a place that is not the company's own -> type of Tryton's location that takes it, where none has its code."""


class Unmapped(Exception):
    """Tryton has nothing under a name that Waybill uses; the message says what to add there."""


class NotNow(Exception):
    """An effect must wait, for something that is not there yet or for its next turn."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


@dataclass(frozen=True)
class Settings:
    """What differs from one Tryton to another.

    :param taxes: rate -> name of the tax, where a rate has several.
    :param units: unit as requests write it -> symbol of Tryton's unit.
    :param blocked: party category of suppliers that nothing is ordered from.
    :param by_mail: party category of suppliers that want their orders by mail.
    :param under_way: seconds that a call without an answer may still be at work in Tryton: its `[request] timeout`.
    """

    taxes: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    blocked: str = "Blocked"
    by_mail: str = "Orders by mail"
    under_way: float = 75.0


@dataclass(frozen=True)
class Place:
    """The warehouse that goods arrive in."""

    warehouse: int
    input: int
    storage: int
    supplier: int


@dataclass(frozen=True)
class Location:
    """A place of Waybill's in Tryton.

    :param type: Tryton's: storage, supplier, customer, lost_found, ...
    :param warehouse: the one that it lies in, if it does.
    """

    id: int
    code: str
    type: str
    warehouse: int | None


@dataclass(frozen=True)
class Party:
    """The company's own party, which stands for suppliers and customers without an order."""

    id: int
    address: int
    supplier_location: int
    customer_location: int


class Records:
    """Ids of what documents refer to. Kept for as long as the provider lives; what is missing is asked for again."""

    def __init__(self, client: TrytonClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._kept: dict[tuple[str, str], Any] = {}

    def forget(self) -> None:
        """Ask for everything again when it is next needed."""
        self._kept.clear()

    @property
    def company(self) -> int:
        """The company of Waybill's user."""
        company = self._client.context.get("company")
        if not company:
            raise Unmapped("Waybill's user has no company: set one in its preferences")
        return int(company)

    def country(self, code: str | None) -> int | None:
        """Return the country, None where Tryton has not got it."""
        return self._maybe("country.country", "code", code) if code else None

    def currency(self, code: str) -> int:
        """Return the currency of an ISO 4217 code."""
        return self._one("currency.currency", "code", code, "currency")

    def account(self, code: str) -> int:
        """Return the account of a number."""
        domain = [("company", "=", self.company), ("closed", "!=", True), ("type", "!=", None)]
        return self._one("account.account", "code", code, "account", *domain)

    def payable(self) -> int:
        """Return the account of suppliers that have none of their own."""
        key = ("account.configuration", "payable")
        if key not in self._kept:
            found = self._client.call(
                "model.account.configuration.read", [1], ["default_account_payable"], repeatable=True
            )
            if not found or not found[0]["default_account_payable"]:
                raise Unmapped("Tryton has no default account for payables: set one in the accounting configuration")
            self._kept[key] = found[0]["default_account_payable"]
        account: int = self._kept[key]
        return account

    def journal(self) -> int:
        """Return the journal of supplier invoices."""
        return self._one("account.journal", "type", "expense", "journal of type")

    def tax(self, rate: Decimal | str) -> int | None:
        """Return the tax on purchases of a rate; None for a rate of nought that has no tax of its own."""
        share = Decimal(rate).normalize()
        key = ("account.tax", str(share))
        if key not in self._kept:
            found = self._client.search_read(
                "account.tax",
                [("company", "=", self.company), ("parent", "=", None), ("type", "=", "percentage"),
                 ("rate", "=", share), ["OR", ("group", "=", None), ("group.kind", "in", ["purchase", "both"])]],
                ["name"],
            )  # fmt: skip
            wanted = {Decimal(known).normalize(): name for known, name in self._settings.taxes.items()}.get(share)
            fitting = [one for one in found if wanted in (None, one["name"])]
            if len(fitting) > 1:
                names = ", ".join(one["name"] for one in fitting)
                raise Unmapped(f"Tryton has several purchase taxes of {share:f} ({names}): name one under `taxes`")
            if not fitting and (share or wanted):
                raise Unmapped(f"Tryton has no purchase tax of {share:f}" + (f" named {wanted!r}" if wanted else ""))
            self._kept[key] = fitting[0]["id"] if fitting else None
        kept: int | None = self._kept[key]
        return kept

    def unit(self, written: str | None) -> int:
        """Return the unit that a request means."""
        name = (written or "").strip()
        symbol = {**UNITS, **{k.casefold(): v for k, v in self._settings.units.items()}}.get(name.casefold(), name)
        return self._one("product.uom", "symbol", symbol, "unit")

    def product(self, item: str | None, description: str, unit: int, *, cost: Decimal | None = None) -> int:
        """Return the product of an item's code, created where Tryton has not got it; without a code, the general one.

        What is bought by a description alone is kept under one product a unit: Tryton moves and counts products only.
        A product is "consumable": what Waybill says has moved does so whatever Tryton thinks is there.

        :param cost: of one unit in the company's currency, for a product that is new.
        """
        code = item or f"WAYBILL-{unit}"
        if (found := self._maybe("product.product", "code", code)) is not None:
            return found
        values = {
            "name": (description if item else "Bought by description")[:200] or code,
            "code": code,
            "type": "goods",
            "consumable": True,
            "default_uom": unit,
            "purchasable": True,
            "purchase_uom": unit,
            "products": [("create", [{} if cost is None else {"cost_price": cost}])],
        }
        try:
            self._client.create("product.template", values)
        except Refused as refusal:
            if not refusal.transient:
                raise
        return self._one("product.product", "code", code, "product")

    def place(self) -> Place:
        """Return the warehouse: the user's, or the only one."""
        key = ("stock.location", "warehouse")
        if key not in self._kept:
            found = self._client.search_read(
                "stock.location", [("type", "=", "warehouse")], ["input_location", "storage_location"]
            )
            preferred = self._client.context.get("warehouse")
            fitting = [one for one in found if one["id"] == preferred] or found
            supplier = self._client.search_read("stock.location", [("type", "=", "supplier")], ["id"], limit=1)
            if not fitting or not supplier:
                raise Unmapped("Tryton has no warehouse, or no location for suppliers")
            one = fitting[0]
            self._kept[key] = Place(one["id"], one["input_location"], one["storage_location"], supplier[0]["id"])
        place: Place = self._kept[key]
        return place

    def location(self, named: Mapping[str, str]) -> Location:
        """Return the location of a code; of places outside the company, where none has it, the one of that kind.

        :param named: code, and kind as Waybill's warehouse knows it: internal, transit, supplier, customer,
            consumption, scrap or adjustment.
        """
        code, kind = named["code"], named["kind"]
        key = ("stock.location", f"code {code}")
        if key not in self._kept:
            fields = ["code", "type", "left", "right"]
            found = self._client.search_read("stock.location", [("code", "=", code)], fields)
            if not found and kind in OUTSIDE:
                found = self._client.search_read("stock.location", [("type", "=", OUTSIDE[kind])], fields)[:1]
            if not found:
                raise Unmapped(f"Tryton has no location with the code {code!r}: give one that code, or enter it")
            if len(found) > 1:
                raise Unmapped(f"Tryton has several locations with the code {code!r}: leave it to one of them")
            one = found[0]
            if kind not in OUTSIDE and one["type"] != "storage":
                raise Unmapped(f"Tryton's location {code!r} is of the type {one['type']}: stock lies in a storage")
            self._kept[key] = Location(one["id"], code, one["type"], self._warehouse_around(one))
        location: Location = self._kept[key]
        return location

    def _warehouse_around(self, place: Mapping[str, Any]) -> int | None:
        around = self._client.search_read(
            "stock.location",
            [("type", "=", "warehouse"), ("left", "<", place["left"]), ("right", ">", place["right"])],
            ["id"],
        )
        return int(around[-1]["id"]) if around else None

    def own_party(self) -> Party:
        """Return the company's own party, with an address."""
        key = ("company.company", "party")
        if key not in self._kept:
            (company,) = self._client.search_read("company.company", [("id", "=", self.company)], ["party"])
            (found,) = self._client.search_read(
                "party.party",
                [("id", "=", company["party"])],
                ["addresses", "supplier_location", "customer_location"],
            )
            if not (found["addresses"] and found["supplier_location"] and found["customer_location"]):
                raise Unmapped("the company's party needs an address, a supplier and a customer location in Tryton")
            self._kept[key] = Party(
                found["id"], found["addresses"][0], found["supplier_location"], found["customer_location"]
            )
        party: Party = self._kept[key]
        return party

    def own_currency(self) -> int:
        """Return the company's currency."""
        key = ("company.company", "currency")
        if key not in self._kept:
            (found,) = self._client.search_read("company.company", [("id", "=", self.company)], ["currency"])
            self._kept[key] = found["currency"]
        currency: int = self._kept[key]
        return currency

    def _one(self, model: str, name: str, value: str, what: str, *domain: Any) -> int:
        found = self._maybe(model, name, value, *domain)
        if found is None:
            raise Unmapped(f"Tryton has no {what} {value!r}")
        return found

    def _maybe(self, model: str, name: str, value: str, *domain: Any) -> int | None:
        key = (model, value)
        if key not in self._kept:
            found = self._client.search_read(model, [(name, "=", value), *domain], ["id"], limit=1)
            if not found:
                return None
            self._kept[key] = found[0]["id"]
        kept: int = self._kept[key]
        return kept
