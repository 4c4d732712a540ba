"""What all of purchasing agrees on: the company, its cost centres, categories, accounts and tolerances.

Reads and checks purchasing.yaml, and tells others what is still expected of orders and how a purchase stands; who
decides about a request is the approval matrix's part.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Connection, text

from include.contracts.documents import DocumentError, read

FILE = Path(__file__).with_name("purchasing.yaml")

Risk = Literal["low", "medium", "high"]


def _share(value: Any) -> Any:
    """A share written as text, `"0.05"`: YAML would make a float of it."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f'{value!r} is not a share; write it in quotes, such as "0.05" for 5 %')
    try:
        return Decimal(value)
    except InvalidOperation:
        raise ValueError(f'{value!r} is not a share; write a number in quotes, such as "0.05"') from None


Share = Annotated[Decimal, BeforeValidator(_share), Field(ge=0, le=1)]
Account = Annotated[str, Field(pattern=r"^\d{3,8}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Company(_Strict):
    """Who buys."""

    name: str
    address: str
    country: str = Field(pattern=r"^[A-Z]{2}$")
    currency: str = Field(pattern=r"^[A-Z]{3}$")
    vat_id: str
    email: str


class Tax(_Strict):
    """Where the input tax of a rate is posted, and the code that accounting knows it by."""

    account: Account
    code: str


class Category(_Strict):
    """What is bought: where it is posted, and how far a delivery or an invoice may be off.

    :param over_delivery: share of the ordered quantity that may be delivered beyond it.
    :param price_tolerance: share of the ordered price that an invoice may differ by.
    :param quantity_tolerance: share of the received quantity that an invoice may differ by.
    :param stock: the location of the warehouse that keeps it in stock; None for what is used up at once.
    """

    title: str
    account: Account
    over_delivery: Share
    price_tolerance: Share
    quantity_tolerance: Share
    risk: Risk
    stock: str | None = None


class CostCentre(_Strict):
    """Who pays, and for what.

    :param owner: a person's id.
    """

    name: str
    owner: str
    department: str
    categories: list[str] = Field(min_length=1)


class Purchasing(_Strict):
    """All of purchasing.yaml."""

    company: Company
    payable_account: Account
    suspense_account: Account
    taxes: dict[Share, Tax] = Field(min_length=1)
    categories: dict[str, Category] = Field(min_length=1)
    cost_centres: dict[str, CostCentre] = Field(min_length=1)
    duplicate_window_days: int = Field(ge=0)
    split_window_days: int = Field(ge=0)

    @model_validator(mode="after")
    def _hangs_together(self) -> Purchasing:
        for name, centre in self.cost_centres.items():
            for category in centre.categories:
                if category not in self.categories:
                    known = ", ".join(self.categories)
                    raise ValueError(f"cost centre {name}: {category!r} is no category; write one of: {known}")
        bought = {category for centre in self.cost_centres.values() for category in centre.categories}
        for category in self.categories:
            if category not in bought:
                raise ValueError(
                    f"category {category!r} may be bought on no cost centre; add it to one, or take it out"
                )
        return self

    def tax(self, rate: Decimal) -> Tax | None:
        """The tax of a rate; None where the company knows none. 0.19 and 0.190 are the same."""
        return self.taxes.get(rate)


def load(path: Path = FILE) -> Purchasing:
    """Read a file like purchasing.yaml. DocumentError says what is wrong with it and where."""
    try:
        return Purchasing.model_validate(read(path))
    except ValidationError as error:
        lines = [
            ": ".join([*(".".join(map(str, fault["loc"])),) * bool(fault["loc"]), fault["msg"]])
            for fault in error.errors()
        ]
        raise DocumentError(f"{path.name}: {'; '.join(lines)}".replace("Value error, ", "")) from None


@cache
def purchasing() -> Purchasing:
    """The shipped file, read once per process."""
    return load()


EXPECTED_LINES = """
    select o.case_id, o.number, o.category, trim(l.item) as item, l.unit,
           l.quantity - l.received + l.returned as quantity
    from purchase_orders o join purchase_order_lines l on l.order_id = o.case_id
    where o.state = 'open' and not l.short_closed and l.quantity > l.received - l.returned and trim(l.item) <> ''"""
"""Lines of open orders of which more is expected, in the order's unit; to be a part of a statement over many items."""

RECEIVED_LINES = """
    select r.case_id, o.category, trim(l.item) as item, l.unit, g.accepted as quantity
    from goods_receipts r join goods_receipt_lines g using (case_id)
    join purchase_orders o on o.case_id = r.order_id
    join purchase_order_lines l on l.order_id = r.order_id and l.line = g.order_line
    where r.recorded_at is not null and r.kind = 'delivery' and g.accepted > 0 and trim(l.item) <> ''"""
"""What was counted of deliveries, by the receipt's case; whether it is in the stock is not for purchasing to say."""


@dataclass(frozen=True)
class Expected:
    """What is still expected of an item by one line of an open order, in the order's unit."""

    order: str
    quantity: Decimal
    unit: str


def expected(connection: Connection, item: str) -> list[Expected]:
    """Return what is still expected of an item, by order."""
    found = connection.execute(
        text(f"select number, quantity, unit from ({EXPECTED_LINES}) e where item = :item order by number"),
        {"item": item},
    )
    return [Expected(*row) for row in found]


@dataclass(frozen=True)
class Standing:
    """How a purchase stands.

    :param order: the state of its order: open, closed or cancelled; None while there is none.
    :param arrived: something came and was not sent back.
    :param complete: nothing more is expected.
    """

    order: str | None
    arrived: bool
    complete: bool


def standings(connection: Connection, case_ids: Collection[int]) -> dict[int, Standing]:
    """Return how purchases stand, by their cases."""
    found = connection.execute(
        text("""
            select c.id, o.state, coalesce(bool_or(l.received > l.returned), false) as arrived,
                   coalesce(bool_and(l.short_closed or l.received - l.returned >= l.quantity), false) as complete
            from cases c left join purchase_orders o on o.case_id = c.id
            left join purchase_order_lines l on l.order_id = o.case_id
            where c.id = any(:ids) group by c.id, o.state"""),
        {"ids": list(case_ids)},
    )
    return {row.id: Standing(row.state, row.arrived, row.complete) for row in found}
