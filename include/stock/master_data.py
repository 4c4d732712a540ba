"""Master data of items from files: each row is checked by itself, and the good ones are written.

What an item is comes from the file; what it is worth and where it may be is for others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator
from sqlalchemy import Connection, text

from include.data.money import AmountInvalid, parse_amount
from include.data.normalise.values import boolean
from include.intake.files import Rows
from include.stock.items import Item, load_items, upsert_items
from include.stock.warehouse import warehouse

MOST_TOLD = 1_000
DECIMALS = 6
LARGEST = Decimal(10) ** 12


def _amount(value: Any) -> Any:
    """A number as it is written, with a point and without separators of thousands."""
    if isinstance(value, float):
        value = repr(value)
    try:
        amount = parse_amount(value)
    except AmountInvalid as error:
        raise ValueError(str(error)) from None
    if round(amount, DECIMALS) != amount or abs(amount) >= LARGEST:
        raise ValueError(f"{amount} is too large, or has more than {DECIMALS} decimals")
    return amount


def _yes_or_no(value: Any) -> Any:
    answer = boolean(value)
    if answer is None:
        raise ValueError(f"{str(value)[:20]!r} is neither yes nor no")
    return answer


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else str(value) if isinstance(value, int) else value


def _units(value: Any) -> Any:
    """`box=12;pallet=480`: how many base units each is; a fraction is written `1/3`."""
    if isinstance(value, Mapping):
        parts = [f"{unit}={number}" for unit, number in value.items()]
    else:
        parts = [part for part in str(value).split(";") if part.strip()]
    units: dict[str, Fraction] = {}
    for part in parts:
        unit, sign, number = (piece.strip() for piece in part.partition("="))
        try:
            factor = Fraction(number)
        except (ValueError, ZeroDivisionError):
            factor = Fraction(0)
        if not (unit and sign) or factor <= 0 or max(factor.numerator, factor.denominator) >= 2**63:
            raise ValueError(
                f"{part.strip()[:40]!r} does not say how many base units a unit is: write box=12;pallet=480"
            )
        if unit.lower() in units:
            raise ValueError(f"the unit {unit[:20]!r} is written twice")
        units[unit.lower()] = factor
    return units


def _condition(value: Any) -> Any:
    """`none` takes a condition away that is known."""
    return None if isinstance(value, str) and value.casefold() == "none" else _lower(value)


Condition = Annotated[Annotated[str, Field(max_length=50)] | None, BeforeValidator(_condition)]
Amount = Annotated[Decimal, BeforeValidator(_amount), Field(ge=0)]


class Row(BaseModel):
    """One row of master data. What a row does not say stays as it is known of the item."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True, frozen=True)

    code: Annotated[str, BeforeValidator(_upper), Field(min_length=1, max_length=100)]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    group: Annotated[str, BeforeValidator(_lower)]
    unit: str
    decimals: Annotated[int, Field(ge=0, le=DECIMALS)] | None = None
    tracking: Annotated[Literal["none", "lot", "serial"], BeforeValidator(_lower)] = "none"
    abc: Annotated[Literal["A", "B", "C"], BeforeValidator(_upper)] = "C"
    hazard: Condition = None
    temperature: Condition = None
    volume: Amount = Decimal(0)
    standard_cost: Amount | None = None
    active: Annotated[bool, BeforeValidator(_yes_or_no)] = True
    expires: Annotated[bool, BeforeValidator(_yes_or_no)] = False
    units: Annotated[dict[str, Fraction], BeforeValidator(_units)] = Field(default_factory=dict)

    @field_validator("code", "title")
    @classmethod
    def _can_be_printed(cls, value: str) -> str:
        if not value.isprintable():
            raise ValueError("holds a character that cannot be printed")
        return value

    @field_validator("group")
    @classmethod
    def _is_a_group(cls, value: str) -> str:
        if value not in warehouse().groups:
            raise ValueError(f"{value[:30]!r} is no group; there are: {', '.join(warehouse().groups)}")
        return value

    @field_validator("unit")
    @classmethod
    def _is_a_unit(cls, value: str) -> str:
        known = {unit.casefold(): unit for unit in warehouse().units}
        if value.casefold() not in known:
            raise ValueError(f"{value[:30]!r} is no unit; there are: {', '.join(warehouse().units)}")
        return known[value.casefold()]

    @model_validator(mode="after")
    def _fits_together(self) -> Row:
        if self.tracking == "serial" and (self.decimals or warehouse().units[self.unit].decimals):
            raise ValueError("what has serial numbers is counted in whole pieces: decimals is 0")
        if self.unit in self.units:
            raise ValueError(f"units: {self.unit} is the base unit itself; leave it out there")
        return self

    def over(self, known: Item | None) -> Item:
        """Return the item that the row makes of the one that is known."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        if said.get("decimals") is None and (known is None or known.unit != self.unit):
            said["decimals"] = warehouse().units[self.unit].decimals
        elif said.get("decimals") is None:
            said.pop("decimals", None)
        return replace(known, **said, learned_from=None) if known else Item(**said)


@dataclass
class MasterData:
    """What came of a file of items.

    :param rows: rows read, blank ones not counted.
    :param changed: items that are new or not what they were.
    :param faulty: rows that were left out.
    :param told: up to MOST_TOLD lines about these.
    """

    rows: int = 0
    changed: int = 0
    faulty: int = 0
    told: list[str] = field(default_factory=list)

    def refuse(self, line: int, why: str) -> None:
        """Leave a row out."""
        self.faulty += 1
        if len(self.told) < MOST_TOLD:
            self.told.append(f"line {line}: {why}")


def import_items(connection: Connection, rows: Rows) -> MasterData:
    """Write the items of a file that are right, and tell each row that is not; again changes nothing."""
    result = MasterData()
    read: dict[str, tuple[int, Row]] = {}
    for line, body in rows:
        result.rows += 1
        try:
            row = Row.model_validate(_given(body))
        except ValidationError as error:
            result.refuse(line, "; ".join(_told(fault) for fault in error.errors()))
            continue
        except ValueError as error:
            result.refuse(line, str(error))
            continue
        if row.code in read:
            result.refuse(line, f"the code {row.code} stands on line {read[row.code][0]} already; keep one of the two")
        else:
            read[row.code] = line, row
    known = load_items(connection, list(read))
    moved = _moved(connection, list(known))
    items = []
    for code, (line, row) in read.items():
        item = row.over(known.get(code))
        if item.expires and item.tracking == "none":
            result.refuse(line, "expires: only lots and serial numbers have a last day; write one as tracking")
        elif code in moved and _shape(item) != _shape(known[code]):
            unit, decimals, tracking = _shape(known[code])
            result.refuse(
                line,
                f"{code} has moved and stays counted in {unit} with {decimals} decimals and tracking {tracking};"
                " enter it under a new code, and adjust the stock of this one to nothing",
            )
        else:
            items.append(item)
    result.changed = upsert_items(connection, items)
    return result


def _given(body: bytes) -> dict[str, Any]:
    document = orjson.loads(body)
    if not isinstance(document, dict):
        raise ValueError("is not an object with fields")
    if "_more" in document:
        raise ValueError("has more values than the header has names; a separator inside a value needs quotes")
    names = {str(name).strip().lower().replace(" ", "_"): value for name, value in document.items()}
    known = {each.name for each in fields(Item)} - {"learned_from"}
    if unknown := sorted(names.keys() - known - {"_sheet"}):
        raise ValueError(f"there is no column {unknown[0][:30]!r}; there are: {', '.join(Row.model_fields)}")
    cleaned = {name: None if isinstance(value, str) and not value.strip() else value for name, value in names.items()}
    return {name: value for name, value in cleaned.items() if value is not None and name != "_sheet"}


def _told(fault: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in fault["loc"][:1])
    why = "is missing" if fault["type"] == "missing" else str(fault["msg"]).removeprefix("Value error, ")
    return f"{place}: {why}" if place else why


def _moved(connection: Connection, codes: Sequence[str]) -> set[str]:
    return set(
        connection.execute(
            text("""
                select code from unnest(cast(:codes as text[])) as v(code)
                where exists (select from stock_movements m where m.item = v.code)"""),
            {"codes": list(codes)},
        ).scalars()
    )


def _shape(item: Item) -> tuple[str, int, str]:
    return item.unit, item.decimals, item.tracking
