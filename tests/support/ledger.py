"""The stock ledger by itself, without a workflow: items to move, movements in short, and what must always hold."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from sqlalchemy import Engine

from include.data.database import authored
from include.stock.check import differences
from include.stock.items import Item, upsert_items, upsert_lots
from include.stock.ledger import Movement, Place, on_hand, post
from include.stock.warehouse import sync
from tests.support.work import rows

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
AUTHOR = "system:test"
ITEMS = (
    Item("NUT", "Nuts M8", "material", "pcs", units={"box": Fraction(250)}),
    Item("MILK", "Milk", "goods", "l", decimals=3, tracking="lot"),
    Item("DRILL", "Drill", "spares", "pcs", tracking="serial"),
)
_keys = itertools.count(1)


def prepare(engine: Engine, *items: Item) -> None:
    """Make the locations of warehouse.yaml and the items; ITEMS where none are named."""
    with authored(engine, actor=AUTHOR) as connection:
        sync(connection)
        upsert_items(connection, items or ITEMS)


def moves(item: str, quantity: object, source: str, destination: str, **more: Any) -> Movement:
    """A movement at NOON with a key of its own, unless told otherwise."""
    values = {"key": f"test/{next(_keys)}", "kind": "test", "moved_at": NOON, **more}
    return Movement(item=item, quantity=Decimal(str(quantity)), source=source, destination=destination, **values)


def arrives(item: str, quantity: object, location: str = "MAIN", **more: Any) -> Movement:
    """Some of an item comes from a supplier."""
    return moves(item, quantity, "SUPPLIER", location, **more)


def leaves(item: str, quantity: object, location: str = "MAIN", **more: Any) -> Movement:
    """Some of an item goes to a customer."""
    return moves(item, quantity, location, "CUSTOMER", **more)


def do(engine: Engine, *movements: Movement) -> int:
    """Post movements in a transaction of their own, their lots known."""
    with authored(engine, actor=AUTHOR) as connection:
        upsert_lots(connection, {(each.item, each.lot): None for each in movements if each.lot})
        return post(connection, movements)


def quantities(engine: Engine, item: str, locations: Iterable[str] = ("MAIN",), lot: str = "") -> list[int | Decimal]:
    """What is there of an item at each location."""
    places = [Place(item, location, lot) for location in locations]
    with engine.connect() as connection:
        there = on_hand(connection, places)
    return [there[place].quantity if place in there else 0 for place in places]


def assert_sound(engine: Engine) -> None:
    """Fail when a rule of the ledger is broken anywhere."""
    with engine.connect() as connection:
        assert not differences(connection)
    broken = {
        "all places of an item hold zero": "select item from stock_balances group by item having sum(quantity) <> 0",
        "nothing is below what is reserved": """
            select * from stock_balances b join stock_locations l on l.code = b.location
            where l.real and not l.negative and (quantity < 0 or quantity < reserved)""",
        "a number is in one place": """
            select item, lot from stock_balances b join stock_items i on i.code = b.item
            where b.real and i.tracking = 'serial' and quantity <> 0 group by 1, 2
            having count(*) > 1 or max(quantity) > 1 or min(quantity) < 0""",
    }
    for rule, query in broken.items():
        found = rows(engine, query)
        assert not found, f"{rule}, but: {found}"
