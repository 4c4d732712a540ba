"""Reservations: stock that is promised to a case and that nobody else can take.

The database adds them up with the balances, and ends a case's when the case ends. One that ran out is
named by `stale`; whoever needs the place then may end it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from include.stock.ledger import Place, refusal


@dataclass(frozen=True, slots=True)
class Promise:
    """So much of what is at a place, for a line of a case."""

    line: int
    place: Place
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Reservation:
    """A promise that was made."""

    case_id: int
    line: int
    place: Place
    quantity: Decimal
    expires_at: datetime


_COLUMNS = "case_id, line, item, location, lot, quantity, expires_at"
_RESERVE = text(f"""
    insert into stock_reservations ({_COLUMNS})
    select :case_id, line, item, location, lot, quantity, :expires_at
    from unnest(cast(:lines as integer[]), cast(:items as text[]), cast(:locations as text[]), cast(:lots as text[]),
                cast(:quantities as numeric[])) as v(line, item, location, lot, quantity)
    order by item, location, lot, line
    on conflict (case_id, line, item, location, lot) do nothing""")
_RESERVE_ALL = text(f"""
    insert into stock_reservations ({_COLUMNS})
    select * from unnest(cast(:case_ids as bigint[]), cast(:lines as integer[]), cast(:items as text[]),
                         cast(:locations as text[]), cast(:lots as text[]), cast(:quantities as numeric[]),
                         cast(:expires as timestamptz[])) as v({_COLUMNS})
    order by item, location, lot, case_id, line
    on conflict (case_id, line, item, location, lot) do nothing""")
_HOLD = text("select hold_stock(cast(:items as text[]), cast(:locations as text[]), cast(:lots as text[]))")
_HOLD_THEIRS = text("""
    select hold_stock(array_agg(item), array_agg(location), array_agg(lot))
    from stock_reservations where case_id = any(:case_ids)""")
_RELEASE = text("delete from stock_reservations where case_id = any(:case_ids)")
# one that somebody else is ending at this moment is left to them: waiting for it could be a deadlock
_LAPSE = text("""
    delete from stock_reservations where id in (
        select r.id from stock_reservations r
        join unnest(cast(:items as text[]), cast(:locations as text[]), cast(:lots as text[]))
             as p(item, location, lot) using (item, location, lot)
        where r.expires_at < now() for update of r skip locked)""")
_OF = text(f"select {_COLUMNS} from stock_reservations where case_id = any(:case_ids) order by case_id, line, id")
_STALE = text(f"select {_COLUMNS} from stock_reservations where expires_at < :now order by expires_at, id")


def reserve(connection: Connection, case_id: int, promises: Iterable[Promise], expires_at: datetime) -> int:
    """Promise stock to a case; a line's promise at a place that was made before stays as it is.

    :returns: how many are new.
    :raises NotPostable: `stock.short` when there is not enough that is not reserved.
    """
    made = list(promises)
    if not made:
        return 0
    places = {
        "items": [promise.place.item for promise in made],
        "locations": [promise.place.location for promise in made],
        "lots": [promise.place.lot for promise in made],
    }
    values = {
        **places,
        "case_id": case_id,
        "expires_at": expires_at,
        "lines": [promise.line for promise in made],
        "quantities": [promise.quantity for promise in made],
    }
    connection.execute(_HOLD, places)
    try:
        return connection.execute(_RESERVE, values).rowcount
    except IntegrityError as error:
        raise refusal(error) from error


def reserve_all(connection: Connection, reservations: Iterable[Reservation]) -> int:
    """Make reservations of many cases, all or none; hold their places before.

    :returns: how many are new; a line's reservation at a place that was made before stays as it is.
    :raises NotPostable: `stock.short` when there is not enough that is not reserved.
    """
    made = list(reservations)
    values = {
        "case_ids": [one.case_id for one in made],
        "lines": [one.line for one in made],
        "items": [one.place.item for one in made],
        "locations": [one.place.location for one in made],
        "lots": [one.place.lot for one in made],
        "quantities": [one.quantity for one in made],
        "expires": [one.expires_at for one in made],
    }
    if not made:
        return 0
    try:
        return connection.execute(_RESERVE_ALL, values).rowcount
    except IntegrityError as error:
        raise refusal(error) from error


def release(connection: Connection, case_ids: Iterable[int]) -> int:
    """End all reservations of cases, their places held first. Returns how many there were."""
    values = {"case_ids": sorted(set(case_ids))}
    connection.execute(_HOLD_THEIRS, values)
    return connection.execute(_RELEASE, values).rowcount


def lapse(connection: Connection, places: Collection[Place]) -> int:
    """End the reservations at places that ran out; hold the places before. Returns how many there were."""
    values = {
        "items": [place.item for place in places],
        "locations": [place.location for place in places],
        "lots": [place.lot for place in places],
    }
    return connection.execute(_LAPSE, values).rowcount


def reservations_of(connection: Connection, case_ids: Iterable[int]) -> list[Reservation]:
    """Return what is reserved for cases, by case and line."""
    return _reservations(connection.execute(_OF, {"case_ids": sorted(set(case_ids))}))


def stale(connection: Connection, now: datetime) -> list[Reservation]:
    """Return the reservations that ran out before `now`, the oldest first."""
    return _reservations(connection.execute(_STALE, {"now": now}))


def _reservations(rows: Iterable[Any]) -> list[Reservation]:
    return [
        Reservation(row.case_id, row.line, Place(row.item, row.location, row.lot), row.quantity, row.expires_at)
        for row in rows
    ]
