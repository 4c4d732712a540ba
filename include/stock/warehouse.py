"""The warehouse as it is declared: its zone, groups of items, locations and units.

Reads and checks warehouse.yaml, and makes the database's locations the same; who may post is the domain's part.
"""

from __future__ import annotations

import os
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from psycopg.types.json import Jsonb
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from sqlalchemy import Connection, text

from include.contracts.documents import DocumentError, read

FILE = Path(__file__).with_name("warehouse.yaml")
VARIABLE = "WAYBILL_WAREHOUSE"
"""Names another file of the warehouse."""

Valuation = Literal["moving_average", "fifo"]
Real = Literal["internal", "transit"]
Virtual = Literal["supplier", "customer", "consumption", "scrap", "adjustment"]
Kind = Literal["internal", "transit", "supplier", "customer", "consumption", "scrap", "adjustment"]
ONE_OF_EACH = ("transit", "supplier", "customer", "consumption", "scrap", "adjustment")


def _fraction(value: Any) -> Any:
    """An exact number written as text, `"0.001"` or `"1/3"`: YAML would make a float of it."""
    if isinstance(value, Fraction):
        return value
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f'{value!r} is not exact; write it in quotes, such as "0.001" or "1/3"')
    try:
        return Fraction(value)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f'{value!r} is not a number; write "12", "0.001" or "1/3"') from None


def _decimal(value: Any) -> Any:
    exact = _fraction(value)
    quotient = Decimal(exact.numerator) / Decimal(exact.denominator)
    if Fraction(quotient) != exact:
        raise ValueError(f"{value!r} has no end as a decimal number; write one with at most 6 decimals")
    return quotient


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Group(_Strict):
    """Items that are valued alike."""

    title: str = Field(min_length=1)
    valuation: Valuation


class Location(_Strict):
    """A place: stock is there, or comes from there, or goes there.

    :param negative: takes what happened there even when the books say that there is nothing.
    :param hazards: classes of hazard that may be stored there.
    :param temperature: what it is kept at.
    :param capacity: cubic metres.
    :param keeper: id of the person who answers for it.
    :param users: who may post there, as `role:x`, `department:x` or `person:x`; nobody named is everybody.
    """

    title: str = Field(min_length=1)
    kind: Kind
    site: str | None = None
    negative: bool = False
    hazards: tuple[str, ...] = ()
    temperature: str | None = None
    capacity: Annotated[Decimal, BeforeValidator(_decimal), Field(gt=0)] | None = None
    keeper: str | None = None
    users: tuple[Annotated[str, Field(pattern=r"^(role|department|person):\S.*$")], ...] = ()

    @property
    def real(self) -> bool:
        """Whether what is there is ours."""
        return self.kind in ("internal", "transit")

    @model_validator(mode="after")
    def _makes_sense(self) -> Location:
        if self.negative and self.kind != "internal":
            raise ValueError(f"`negative` is for internal locations; a place of kind {self.kind} does without it")
        if self.real and not self.keeper:
            raise ValueError("nobody answers for it; name a person's id as `keeper`")
        return self


class Unit(_Strict):
    """A unit in which something is counted.

    :param decimals: how far it can be divided.
    :param of: the unit of which this one is always the same part.
    :param factor: how many of `of` one of this unit is.
    """

    title: str = Field(min_length=1)
    decimals: int = Field(default=0, ge=0, le=6)
    of: str | None = None
    factor: Annotated[Fraction, BeforeValidator(_fraction)] = Fraction(1)

    @model_validator(mode="after")
    def _makes_sense(self) -> Unit:
        if self.factor <= 0:
            raise ValueError("factor is not above zero")
        if self.of is None and self.factor != 1:
            raise ValueError("factor says how many, and nothing says of what; name a unit under `of`")
        return self


class Warehouse(_Strict):
    """All that is declared."""

    zone_name: str = Field(alias="zone")
    groups: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], Group] = Field(min_length=1)
    locations: dict[Annotated[str, Field(pattern=r"^[A-Z0-9][A-Z0-9_-]*$", max_length=30)], Location]
    units: dict[str, Unit] = Field(min_length=1)

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which the company's days and months begin."""
        return ZoneInfo(self.zone_name)

    def day_of(self, moment: datetime) -> date:
        """The company's day that a moment is in."""
        return moment.astimezone(self.zone).date()

    def factor(self, unit: str, base: str) -> Fraction | None:
        """How many `base` one `unit` always is; None where that depends on the item, or makes no sense."""
        if unit == base:
            return Fraction(1)
        one, other = self._in_its_root(unit), self._in_its_root(base)
        return one[1] / other[1] if one and other and one[0] == other[0] else None

    def _in_its_root(self, unit: str) -> tuple[str, Fraction] | None:
        declared = self.units.get(unit)
        return (declared.of or unit, declared.factor) if declared else None

    @model_validator(mode="after")
    def _makes_sense(self) -> Warehouse:
        try:
            _ = self.zone
        except (ZoneInfoNotFoundError, ValueError):
            raise ValueError(f"zone: {self.zone_name!r} is no time zone; write one such as Europe/Berlin") from None
        kinds = {location.kind for location in self.locations.values()}
        missing = [kind for kind in ("internal", *ONE_OF_EACH) if kind not in kinds]
        if missing:
            raise ValueError(f"locations: there is none of kind {', '.join(missing)}; declare one of each")
        for name, unit in self.units.items():
            if unit.of and (unit.of not in self.units or self.units[unit.of].of):
                raise ValueError(f"units.{name}.of: {unit.of!r} is not a unit that stands by itself; name one that is")
        return self


def load(path: Path = FILE) -> Warehouse:
    """Read a file of a warehouse.

    :raises DocumentError: with what is wrong and where.
    """
    try:
        return Warehouse.model_validate(read(path))
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            place = ".".join(str(part) for part in fault["loc"] if part != "[key]")
            why = fault["msg"].removeprefix("Value error, ")
            lines.append(f"{place}: {why}" if place else why)
        raise DocumentError(f"{path.name}: {'; '.join(lines)}") from None


def warehouse() -> Warehouse:
    """The warehouse of this deployment; a changed file is read again."""
    path = Path(os.environ.get(VARIABLE) or FILE)
    try:
        stat = path.stat()
    except OSError as error:
        raise DocumentError(f"{path}: {error.strerror}; {VARIABLE} names the file of the warehouse") from None
    return _read(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _read(path: Path, _changed: int, _size: int) -> Warehouse:
    return load(path)


def virtual(kind: str) -> str:
    """The location that is meant by a kind alone: supplier, customer, consumption, scrap, adjustment or transit."""
    return next(code for code, location in warehouse().locations.items() if location.kind == kind)


def sync(connection: Connection) -> int:
    """Make the database's locations those that are declared; one that is no longer declared becomes inactive.

    One look when nothing changed.

    :returns: how many changed.
    :raises sqlalchemy.exc.DBAPIError: when a location in use changes its kind, or stops allowing what is negative.
    """
    rows = [
        {
            "code": code,
            "title": location.title,
            "kind": location.kind,
            "site": location.site,
            "negative": location.negative,
            "hazards": list(location.hazards),
            "temperature": location.temperature,
            "capacity": str(location.capacity) if location.capacity is not None else None,
        }
        for code, location in warehouse().locations.items()
    ]
    return connection.execute(_SYNC, {"rows": Jsonb(rows)}).rowcount


_SYNC = text("""
    with declared as (
        select code, title, kind, site, negative, hazards, temperature, capacity, true as active
        from jsonb_to_recordset(:rows) as v(code text, title text, kind text, site text, negative boolean,
                                            hazards text[], temperature text, capacity numeric(18, 6))
    ), wanted as (
        select * from declared
        union all
        select code, title, kind, site, negative, hazards, temperature, capacity, false from stock_locations
        where code not in (select code from declared)
    )
    insert into stock_locations as l (code, title, kind, site, negative, hazards, temperature, capacity, active)
    select * from (
        select * from wanted
        except select code, title, kind, site, negative, hazards, temperature, capacity, active from stock_locations
    ) as changed order by code
    on conflict (code) do update
    set title = excluded.title, kind = excluded.kind, site = excluded.site, negative = excluded.negative,
        hazards = excluded.hazards, temperature = excluded.temperature, capacity = excluded.capacity,
        active = excluded.active""")
