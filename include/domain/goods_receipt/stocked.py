"""Which ordered goods the stock keeps, and what it wants to be told of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from decimal import Decimal

from sqlalchemy import Connection

from include.domain.goods_receipt.admission import Stocked
from include.domain.purchasing import purchasing
from include.stock.items import Inexact, Item, UnitUnknown, load_items, load_lots, to_base


def items_of(connection: Connection, ordered: Iterable[tuple[str, str | None]]) -> dict[tuple[str, str | None], Item]:
    """Return the items that the stock knows of ordered goods.

    :param ordered: category and item of each line of an order; only categories that are kept in stock count.
    :returns: the items by these two, as they are written in the order.
    """
    places = {name: category.stock for name, category in purchasing().categories.items()}
    codes = {(category, item): item.strip() for category, item in ordered if item and places.get(category)}
    known = load_items(connection, {spelled for code in codes.values() for spelled in (code, code.upper())})
    found = {named: known.get(code) or known.get(code.upper()) for named, code in codes.items()}
    return {named: item for named, item in found.items() if item}


def days_of(connection: Connection, items: Iterable[Item]) -> dict[str, dict[str, date]]:
    """Return the last days of those items' lots that have one, by item and lot."""
    days: dict[str, dict[str, date]] = {}
    for (item, lot), day in load_lots(connection, {item.code for item in items if item.tracking == "lot"}).items():
        if day is not None:
            days.setdefault(item, {})[lot] = day
    return days


def wanted_of(item: Item, unit: str | None, days: dict[str, dict[str, date]]) -> Stocked | None:
    """Return what must be told of an item that is ordered in a unit; None where it has no lots."""
    if item.tracking == "none":
        return None
    try:
        pieces = to_base(item, Decimal(1), unit)
    except (UnitUnknown, Inexact):
        pieces = None
    return Stocked(item.code, item.tracking == "serial", item.expires, days.get(item.code, {}), pieces)


def has_lots(item: Item | None) -> bool:
    """Whether a lot that is told of an item goes on to the stock; of one that nobody entered yet it does."""
    return item is None or item.tracking != "none"
