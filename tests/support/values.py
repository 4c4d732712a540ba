"""Items with a past, posted and valued: what the tests of values and of periods share."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, text

from include.data.database import authored
from include.stock.items import Item, upsert_items
from include.stock.ledger import Movement, post
from include.stock.valuation import Tally, value
from include.stock.warehouse import sync

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
MATERIAL, GOODS = "material", "goods"


def prepare(engine: Engine, *items: tuple[str, str, str | None]) -> None:
    """Make the locations, and items as (code, group, standard cost)."""
    with authored(engine, actor="system:test") as connection:
        sync(connection)
        upsert_items(
            connection,
            [
                Item(code, f"Item {code}", group, "pcs", standard_cost=Decimal(cost) if cost else None)
                for code, group, cost in items
            ],
        )


def move(
    item: str, quantity: int, cost: str | None = None, *, day: float = 0, key: str = "", place: str = "SHOP"
) -> Movement:
    """A receipt, or an issue where the quantity is below zero, so many days after START."""
    source, destination = ("SUPPLIER", place) if quantity > 0 else (place, "CUSTOMER")
    moved_at = START + timedelta(days=day)
    return Movement(
        key=key or f"{item}/{day}/{quantity}",
        kind="receipt" if quantity > 0 else "issue",
        item=item,
        source=source,
        destination=destination,
        quantity=Decimal(abs(quantity)),
        moved_at=moved_at,
        unit_cost=Decimal(cost) if cost is not None else None,
    )


def post_all(engine: Engine, *movements: Movement) -> None:
    with authored(engine, actor="system:test") as connection:
        post(connection, movements)


def value_all(engine: Engine, items: Sequence[str] | None = None) -> Tally:
    with engine.begin() as connection:
        return value(connection, items)


def valued(engine: Engine, item: str) -> list[tuple[Any, ...]]:
    """What each movement of an item is worth, in order."""
    with engine.connect() as connection:
        rows = connection.execute(
            text(
                "select unit_cost, value, variance from stock_values where item = :item order by moved_at, movement_id"
            ),
            {"item": item},
        )
        return [tuple(row) for row in rows]


def number(engine: Engine, query: str) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(query)).scalar()


def unreconciled(engine: Engine) -> list[Any]:
    """Items whose kept value is not the sum of their movements' values and variances, or whose quantity is not."""
    with engine.connect() as connection:
        return list(
            connection.execute(
                text("""
                    select v.item, v.value, s.value, v.quantity, b.quantity from stock_valuations v
                    join (select item, sum(value + variance) as value from stock_values group by item) s using (item)
                    join (select item, sum(quantity) as quantity from stock_balances where real group by item) b
                        using (item)
                    where (v.value, v.quantity) <> (s.value, b.quantity)""")
            )
        )
