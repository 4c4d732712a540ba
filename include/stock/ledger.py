"""Movements of stock: posting them, holding places still, and what was where.

The rules that no movement may break are kept by the database (migration 0015); this is the way in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from psycopg.errors import Diagnostic
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from include.data.database import driver
from include.data.frames import array_of


class Place(NamedTuple):
    """Where one lot of an item is; the lot is '' for items without lots."""

    item: str
    location: str
    lot: str = ""


@dataclass(frozen=True, slots=True)
class Balance:
    """What is at a place.

    :param reserved: how much of it is promised.
    :param negative: more may leave than is there.
    """

    quantity: Decimal
    reserved: Decimal
    negative: bool

    @property
    def available(self) -> Decimal:
        """What is there and promised to nobody."""
        return self.quantity - self.reserved


@dataclass(frozen=True, slots=True)
class Movement:
    """So much of an item goes from one place to another.

    :param key: business identity; a movement with the same key is the same one, and moves once.
    :param source: code of the location that it leaves.
    :param destination: code of the location that it arrives at.
    :param quantity: in the item's base unit, above zero.
    :param lot: lot or serial number, of items that have one.
    :param unit_cost: of one base unit in the company's currency, where it comes with a cost of its own.
    :param reverses: id of the movement that this one takes back.
    """

    key: str
    kind: str
    item: str
    source: str
    destination: str
    quantity: Decimal
    moved_at: datetime
    lot: str = ""
    unit_cost: Decimal | None = None
    case_id: int | None = None
    line: int | None = None
    reverses: int | None = None


class NotPostable(Exception):
    """The database refused movements or a reservation, all of them; the transaction can only be rolled back.

    :param code: stock.short, place.capacity, period.closed, movement.unfit, movement.reversed, movement.differs or
        serial.elsewhere.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


_COLUMNS: dict[str, str] = {
    "key": "text",
    "kind": "text",
    "item": "text",
    "lot": "text",
    "source": "text",
    "destination": "text",
    "quantity": "numeric",
    "unit_cost": "numeric",
    "moved_at": "timestamptz",
    "case_id": "bigint",
    "line": "integer",
    "reverses": "bigint",
}
_SENT = "unnest({}) as v({})".format(
    ", ".join(f"cast(:{name} as {kind}[])" for name, kind in _COLUMNS.items()), ", ".join(_COLUMNS)
)
_HOLD = text("select hold_stock(cast(:items as text[]), cast(:locations as text[]), cast(:lots as text[]))")
_POST = "select post_stock({})".format(", ".join(f"cast(%({name})s as {kind}[])" for name, kind in _COLUMNS.items()))
"""With psycopg's own placeholders."""
_DIFFERS = text(f"""
    select v.key from {_SENT} join stock_movements m using (key)
    where (m.item, m.lot, m.source, m.destination, m.quantity)
          is distinct from (v.item, v.lot, v.source, v.destination, v.quantity)
    order by key limit 1""")
_PLACES = """unnest(cast(:items as text[]), cast(:locations as text[]), cast(:lots as text[]))
             as p(item, location, lot)"""
_ON_HAND = text(f"""
    select item, location, lot, quantity, reserved, negative
    from stock_balances join {_PLACES} using (item, location, lot)""")
_ON_HAND_AT = text(f"""
    select p.item, p.location, p.lot, coalesce(b.quantity, 0) - coalesce((
        select sum(case when m.destination = p.location then m.quantity else -m.quantity end) from stock_movements m
        where m.item = p.item and m.lot = p.lot and m.moved_at > :moment
          and p.location in (m.source, m.destination)), 0) as quantity
    from (select distinct * from {_PLACES}) p left join stock_balances b using (item, location, lot)""")
_LOTS_AT = text(f"""
    select item, location, b.lot from stock_balances b join {_PLACES} using (item, location)
    where b.quantity > 0 order by 1, 2, 3""")
_REVERSE = text("""
    select id, item, lot, destination, source, quantity, unit_cost, case_id, line
    from stock_movements where id = any(:ids) order by id""")


def post(connection: Connection, movements: Iterable[Movement]) -> int:
    """Post movements, all or none; call it in an authored transaction.

    Every place is held before anything is written, in one order for everybody, so that two who post wait for each
    other and never deadlock; what else a transaction holds, it should hold with the same call of `hold`.

    :returns: how many are new; one whose key was posted before is left.
    :raises NotPostable: when the database refuses them.
    """
    every = list(movements)
    if not every:
        return 0
    values = {name: array_of([getattr(movement, name) for movement in every]) for name in _COLUMNS}
    try:
        with driver(connection) as direct:
            new = int(direct.execute(_POST, values).fetchall()[0][0])
    except IntegrityError as error:
        raise refusal(error) from error
    if new < len(every):
        differs = connection.execute(_DIFFERS, values).scalar()
        if differs is not None:
            raise NotPostable(
                "movement.differs", f"{differs} was posted with other content: reverse it, and post under another key"
            )
    return new


def hold(connection: Connection, places: Iterable[Place]) -> dict[Place, Balance]:
    """Hold places still until the transaction ends, and return what is there.

    :returns: a balance for each place; one whose item or location is unknown is absent.
    """
    wanted = set(places)
    if wanted:
        connection.execute(_HOLD, _places(wanted))
    return on_hand(connection, wanted)


def on_hand(connection: Connection, places: Iterable[Place]) -> dict[Place, Balance]:
    """Return what is at places now; one where nothing ever was is absent."""
    wanted = list(places)
    if not wanted:
        return {}
    rows = connection.execute(_ON_HAND, _places(wanted))
    return {Place(*row[:3]): Balance(row.quantity, row.reserved, row.negative) for row in rows}


def on_hand_at(connection: Connection, places: Iterable[Place], moment: datetime) -> dict[Place, Decimal]:
    """Return what was at each place at a moment; what moved at that very moment had moved."""
    wanted = list(places)
    if not wanted:
        return {}
    rows = connection.execute(_ON_HAND_AT, {**_places(wanted), "moment": moment})
    return {Place(*row[:3]): row.quantity for row in rows}


def lots_at(connection: Connection, places: Iterable[tuple[str, str]]) -> list[Place]:
    """Return where stock is of these items at these locations, lot by lot; hold them, and look again, to rely on it."""
    wanted = [Place(item, location) for item, location in places]
    if not wanted:
        return []
    return [Place(*row) for row in connection.execute(_LOTS_AT, _places(wanted))]


def reverse(connection: Connection, movement_ids: Sequence[int], *, moved_at: datetime, key_prefix: str) -> int:
    """Take movements back by opposite ones, keyed `<key_prefix>/<id>`; call it in an authored transaction.

    :returns: how many are new.
    :raises NotPostable: `stock.short` where the goods are gone, `movement.reversed` where it was taken back before.
    """
    rows = connection.execute(_REVERSE, {"ids": sorted(set(movement_ids))}).all()
    return post(
        connection,
        [
            Movement(
                key=f"{key_prefix}/{row.id}",
                kind="reversal",
                item=row.item,
                lot=row.lot,
                source=row.destination,
                destination=row.source,
                quantity=row.quantity,
                unit_cost=row.unit_cost,
                moved_at=moved_at,
                case_id=row.case_id,
                line=row.line,
                reverses=row.id,
            )
            for row in rows
        ],
    )


def _places(places: Iterable[Place]) -> dict[str, str]:
    every = sorted(set(places))
    return {
        "items": array_of([place.item for place in every]),
        "locations": array_of([place.location for place in every]),
        "lots": array_of([place.lot for place in every]),
    }


def refusal(error: IntegrityError) -> Exception:
    """Return what a constraint's name means to those who post; an error of another kind comes back as it is."""
    diagnostic: Diagnostic | None = getattr(error.orig, "diag", None)
    constraint = diagnostic.constraint_name if diagnostic else None
    if diagnostic is None or constraint not in _REFUSALS:
        return error
    code, message = _REFUSALS[constraint]
    detail = diagnostic.message_detail or ""
    return NotPostable(code, message.format(primary=diagnostic.message_primary, place=_place_in(detail)))


def _place_in(detail: str) -> str:
    """The place that a failing row or a conflicting key is about: `W-1 at MAIN`."""
    values = detail.partition("(")[2].split(", ")
    return f"{values[0]} at {values[1]}" if len(values) > 2 else "an item"


_REFUSALS = {
    "no_stock_below_what_is_reserved": (
        "stock.short",
        "there is not enough of {place} that is not reserved: post less, or wait for more",
    ),
    "a_location_holds_no_more_than_fits": ("place.capacity", "{primary}: choose another place, or make room"),
    "a_closed_period_stays_closed": ("period.closed", "{primary}"),
    "a_movement_fits_its_item": ("movement.unfit", "{primary}"),
    "a_reservation_is_at_a_known_place": ("movement.unfit", "there is no such item or place: {place}"),
    "a_serial_number_is_in_one_place": (
        "serial.elsewhere",
        "a serial number is at another place already: {primary}",
    ),
    "a_serial_number_is_one": ("serial.elsewhere", "{place} would be there twice or not at all: look at its number"),
    "a_movement_is_reversed_once": ("movement.reversed", "a movement was taken back before"),
}
