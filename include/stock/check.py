"""Holds what the balances keep against what the movements and reservations say, and makes them agree again.

They differ only when somebody went around the ledger; the movements are what happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Connection, text

from include.stock.ledger import Place

# Enough to be alone: no movement and no reservation is written without its balance.
_ALONE = text("lock table stock_balances in share row exclusive mode")
_ALLOWED = text("select set_config('waybill.rebuilding', :allowed, true)")
_DIFFERENCES = """
    select item, location, lot,
           coalesce(b.quantity, 0) as kept, coalesce(m.quantity, 0) as rebuilt,
           coalesce(b.reserved, 0) as reserved, coalesce(r.quantity, 0) as promised
    from stock_balances b full join stock_rebuilt m using (item, location, lot)
    full join (select item, location, lot, sum(quantity) as quantity from stock_reservations group by 1, 2, 3) r
        using (item, location, lot)
    where coalesce(b.quantity, 0) <> coalesce(m.quantity, 0) or coalesce(b.reserved, 0) <> coalesce(r.quantity, 0)"""
_FIND = text(f"{_DIFFERENCES} order by item, location, lot")
_REBUILD = text(f"""
    with wrong as ({_DIFFERENCES})
    insert into stock_balances as b (item, location, lot, quantity, reserved, real, negative, serial)
    select w.item, w.location, w.lot, w.rebuilt, w.promised, l.real, l.negative or not l.real, i.tracking = 'serial'
    from wrong w join stock_items i on i.code = w.item join stock_locations l on l.code = w.location
    on conflict (item, location, lot) do update set quantity = excluded.quantity, reserved = excluded.reserved""")
_SHOWN = text("""
    select location, lot, quantity, reserved from stock_balances
    where item = :item and (quantity <> 0 or reserved <> 0) order by real desc, location, lot""")


@dataclass(frozen=True, slots=True)
class Difference:
    """A place where what is kept is not what happened.

    :param kept: the quantity of the balance.
    :param rebuilt: the quantity that the movements add up to.
    :param reserved: what the balance says is reserved.
    :param promised: what the reservations add up to.
    """

    place: Place
    kept: Decimal
    rebuilt: Decimal
    reserved: Decimal
    promised: Decimal


def differences(connection: Connection) -> list[Difference]:
    """Return every place whose balance is not what its movements and reservations add up to."""
    return [
        Difference(Place(row.item, row.location, row.lot), row.kept, row.rebuilt, row.reserved, row.promised)
        for row in connection.execute(_FIND)
    ]


def rebuild(connection: Connection) -> list[Difference]:
    """Make the balances what the movements and reservations add up to; nobody posts meanwhile.

    :returns: what was put right.
    :raises sqlalchemy.exc.IntegrityError: when movements that went around the ledger took more than there was.
    """
    connection.execute(_ALONE)
    found = differences(connection)
    if found:
        connection.execute(_ALLOWED, {"allowed": "yes"})
        connection.execute(_REBUILD)
        connection.execute(_ALLOWED, {"allowed": ""})
    return found


def shown(connection: Connection, item: str) -> Sequence[tuple[str, str, Decimal, Decimal]]:
    """Return location, lot, quantity and reserved of every place of an item that is not empty."""
    return [(row.location, row.lot, row.quantity, row.reserved) for row in connection.execute(_SHOWN, {"item": item})]
