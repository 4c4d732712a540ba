"""Items: what is stored, and the units in which it can be counted.

Whether an item may be at a place, and what it is worth, is not decided here.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Literal

import psycopg
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from include.stock.warehouse import warehouse

MOVED = "an_item_that_moved_stays_what_it_is"

Tracking = Literal["none", "lot", "serial"]


class UnitUnknown(ValueError):
    """A unit in which an item cannot be counted."""


class Inexact(ValueError):
    """A quantity that is no whole number of the smallest parts of an item's base unit."""


class ItemMoved(ValueError):
    """An item that moved was to be counted or told apart in another way."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something that is stored.

    :param unit: the base unit, in which its stock is counted.
    :param decimals: how far the base unit can be divided.
    :param tracking: whether one lot, or one single piece, is told from another.
    :param abc: how often it is counted.
    :param hazard: its class of hazard.
    :param temperature: what it must be kept at.
    :param volume: cubic metres of one base unit.
    :param standard_cost: of one base unit, in the company's currency, until it has a cost of its own.
    :param expires: whether each of its lots has a last day, which must be named when the lot comes.
    :param learned_from: the source that first named it, where nobody entered it.
    :param units: its own units; one of each is so many base units.
    """

    code: str
    title: str
    group: str
    unit: str
    decimals: int = 0
    tracking: Tracking = "none"
    abc: Literal["A", "B", "C"] = "C"
    hazard: str | None = None
    temperature: str | None = None
    volume: Decimal = Decimal(0)
    standard_cost: Decimal | None = None
    active: bool = True
    expires: bool = False
    learned_from: str | None = None
    units: Mapping[str, Fraction] = field(default_factory=dict)


def to_base(item: Item, quantity: Decimal, unit: str | None = None) -> Decimal:
    """Return a quantity in the item's base unit, exactly.

    :param unit: the base unit when left out.
    :raises UnitUnknown: when the item cannot be counted in it.
    :raises Inexact: when the base unit cannot be divided as far as that.
    """
    factor = Fraction(1)
    if unit and unit != item.unit:
        known = item.units.get(unit) or warehouse().factor(unit, item.unit)
        if known is None:
            own = ", ".join([item.unit, *sorted(item.units)])
            raise UnitUnknown(f"{item.code} is counted in {own}, not in {unit!r}; say how many {item.unit} that is")
        factor = known
    parts = Fraction(quantity) * factor * 10**item.decimals
    if parts.denominator != 1:
        decimals = f"{item.decimals} decimals" if item.decimals else "whole numbers"
        raise Inexact(f"{quantity} {unit or item.unit} of {item.code} is not exact in {item.unit} with {decimals}")
    return Decimal(parts.numerator).scaleb(-item.decimals)


def load_items(connection: Connection, codes: Collection[str]) -> dict[str, Item]:
    """Return the items with these codes; one that does not exist is absent."""
    if not codes:
        return {}
    rows = connection.execute(_LOAD, {"codes": sorted(set(codes))})
    return {
        row.code: Item(
            code=row.code,
            title=row.title,
            group=row.item_group,
            unit=row.base_unit,
            decimals=row.decimals,
            tracking=row.tracking,
            abc=row.abc,
            hazard=row.hazard,
            temperature=row.temperature,
            volume=row.volume,
            standard_cost=row.standard_cost,
            active=row.active,
            expires=row.expires,
            learned_from=row.learned_from,
            units={unit: Fraction(*parts) for unit, parts in (row.units or {}).items()},
        )
        for row in rows
    }


def upsert_items(connection: Connection, items: Iterable[Item], *, only_new: bool = False) -> int:
    """Write items with their units; one that is as it was written is left.

    :param only_new: leaves items that exist as they are, for those who learn of an item rather than know it.
    :returns: how many are new or changed.
    :raises ItemMoved: when an item that moved would change its base unit, decimals or tracking.
    """
    rows = {item.code: _row(item) for item in items}
    if not rows:
        return 0
    values = {"rows": Jsonb([rows[code] for code in sorted(rows)])}
    try:
        changed = connection.execute(_LEARN if only_new else _UPSERT, values)
    except IntegrityError as error:
        if isinstance(error.orig, psycopg.Error) and error.orig.diag.constraint_name == MOVED:
            raise ItemMoved(error.orig.diag.message_primary) from error
        raise
    touched = {row.code for row in changed}
    if only_new:
        values = {"rows": Jsonb([rows[code] for code in sorted(touched)])}
    touched |= {row.item for row in connection.execute(_UNITS, values)}
    return len(touched)


def load_lots(connection: Connection, items: Collection[str]) -> dict[tuple[str, str], date | None]:
    """Return the last day of each lot of these items, by item and lot; None where it has none."""
    if not items:
        return {}
    rows = connection.execute(_LOTS, {"items": sorted(set(items))})
    return {(row.item, row.lot): row.expires_on for row in rows}


def upsert_lots(connection: Connection, lots: Mapping[tuple[str, str], date | None]) -> int:
    """Write lots with their last days; a day that is known stays. Returns how many are new or got their day."""
    if not lots:
        return 0
    every = sorted(lots)
    values = {
        "items": [item for item, _ in every],
        "lots": [lot for _, lot in every],
        "days": [lots[each] for each in every],
    }
    return connection.execute(_UPSERT_LOTS, values).rowcount


def _row(item: Item) -> dict[str, object]:
    return {
        "code": item.code,
        "title": item.title,
        "item_group": item.group,
        "base_unit": item.unit,
        "decimals": item.decimals,
        "tracking": item.tracking,
        "abc": item.abc,
        "hazard": item.hazard,
        "temperature": item.temperature,
        "volume": str(item.volume),
        "standard_cost": None if item.standard_cost is None else str(item.standard_cost),
        "active": item.active,
        "expires": item.expires,
        "learned_from": item.learned_from,
        "units": [
            {"unit": unit, "numerator": factor.numerator, "denominator": factor.denominator}
            for unit, factor in item.units.items()
        ],
    }


_LOAD = text("""
    select i.*, (select jsonb_object_agg(unit, jsonb_build_array(numerator, denominator))
                 from stock_units u where u.item = i.code) as units
    from stock_items i where code = any(:codes)""")

_LOTS = text("select item, lot, expires_on from stock_lots where item = any(:items)")
_UPSERT_LOTS = text("""
    insert into stock_lots as l (item, lot, expires_on)
    select * from unnest(cast(:items as text[]), cast(:lots as text[]), cast(:days as date[]))
    on conflict (item, lot) do update set expires_on = excluded.expires_on
    where l.expires_on is null and excluded.expires_on is not null""")

_COLUMNS = (
    "code, title, item_group, base_unit, decimals, tracking, abc, hazard, temperature, volume, standard_cost, active,"
    " expires"
)
_SENT = """jsonb_to_recordset(:rows) as v(
    code text, title text, item_group text, base_unit text, decimals smallint, tracking text, abc char(1), hazard text,
    temperature text, volume numeric(18, 6), standard_cost numeric(18, 6), active boolean, expires boolean,
    learned_from text, units jsonb)"""

_LEARN = text(f"""
    insert into stock_items ({_COLUMNS}, learned_from) select {_COLUMNS}, learned_from from {_SENT} order by code
    on conflict (code) do nothing returning code""")

_UPSERT = text(f"""
    insert into stock_items as i ({_COLUMNS}, learned_from) select {_COLUMNS}, learned_from from {_SENT} order by code
    on conflict (code) do update
    set title = excluded.title, item_group = excluded.item_group, base_unit = excluded.base_unit,
        decimals = excluded.decimals, tracking = excluded.tracking, abc = excluded.abc, hazard = excluded.hazard,
        temperature = excluded.temperature, volume = excluded.volume, standard_cost = excluded.standard_cost,
        active = excluded.active, expires = excluded.expires, learned_from = excluded.learned_from, updated_at = now()
    where (i.title, i.item_group, i.base_unit, i.decimals, i.tracking, i.abc, i.hazard, i.temperature, i.volume,
           i.standard_cost, i.active, i.expires, i.learned_from)
          is distinct from (excluded.title, excluded.item_group, excluded.base_unit, excluded.decimals,
                            excluded.tracking, excluded.abc, excluded.hazard, excluded.temperature, excluded.volume,
                            excluded.standard_cost, excluded.active, excluded.expires, excluded.learned_from)
    returning i.code""")

_UNITS = text(f"""
    with sent as (
        select code as item, u.* from {_SENT},
               jsonb_to_recordset(v.units) as u(unit text, numerator bigint, denominator bigint)
    ), gone as (
        delete from stock_units s using (select distinct code from {_SENT}) c
        where s.item = c.code and not exists (select from sent where sent.item = s.item and sent.unit = s.unit)
        returning s.item
    ), written as (
        insert into stock_units as s (item, unit, numerator, denominator)
        select * from sent order by item, unit
        on conflict (item, unit) do update
        set numerator = excluded.numerator, denominator = excluded.denominator
        where (s.numerator, s.denominator) <> (excluded.numerator, excluded.denominator)
        returning s.item
    )
    select item from gone union select item from written""")
