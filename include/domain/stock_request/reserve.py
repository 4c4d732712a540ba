"""The step `reserve`: what a request takes is kept for it while people decide about it, as far as it is there.

Whoever needs no decision is posted next and reserves nothing. A request that comes here again, changed or released,
reserves anew; the reservation ends when the request is posted, when its case ends, or when it ran out and others need
the stock.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from include.cases import store
from include.cases.model import Work
from include.domain.stock_request.demands import ELSEWHERE, Request, expiries_of, lots_there, places_of, requests_of
from include.stock import reservations
from include.stock.allocation import Allocation, Demand, allocate
from include.stock.ledger import Place, hold, on_hand
from include.stock.reservations import Reservation
from include.stock.warehouse import warehouse

NOT_ALL = "not all reserved"
"""Event: less was there, or free, than the request takes."""
MOST_TOLD = 20
"""Lines of a request that an event names."""

_DECIDED = text("select case_id from stock_requests where case_id = any(:ids) and approved_by is not null")


def reserve(work: Work) -> None:
    """Reserve what requests take that wait for people, in order of arrival.

    A request that is posted as a whole or not at all reserves all of it or nothing.
    """
    connection = work.connection
    decided = set(connection.execute(_DECIDED, work.values).scalars())
    requests = requests_of(connection, [case_id for case_id in work.case_ids if case_id not in decided])
    scarce = {code for code, place in warehouse().locations.items() if place.kind == "internal" and not place.negative}
    for request in requests:
        request.lines = [line for line in request.lines if line.source in scarce]
        for line in request.lines:
            line.destination = ELSEWHERE
    places = places_of(requests, lots_there(connection, requests))
    places.update(made.place for made in reservations.reservations_of(connection, work.case_ids))
    hold(connection, places)
    reservations.release(connection, work.case_ids)
    reservations.lapse(connection, places)
    wanted = [(request, line.line, request.demand(line)) for request in requests for line in request.lines]
    given = allocate(
        [demand for _, _, demand in wanted], on_hand(connection, places), expiries_of(connection, requests)
    )
    _make(connection, wanted, given)


def _make(connection: Connection, wanted: Sequence[tuple[Request, int, Demand]], given: Sequence[Allocation]) -> None:
    now = datetime.now(UTC)
    made: list[Reservation] = []
    told: dict[int, list[dict[str, Any]]] = {}
    for (request, line, demand), got in zip(wanted, given, strict=True):
        expires = now + request.rules.reserved_for
        made += [
            Reservation(request.case_id, line, Place(demand.item, demand.source, lot), quantity, expires)
            for lot, quantity in got.taken
        ]
        if got.missing > 0:
            missing = {"item": demand.item, "place": demand.source, "missing": f"{got.missing.normalize():f}"}
            told.setdefault(request.case_id, []).append(missing)
    reservations.reserve_all(connection, made)
    store.record_each(connection, NOT_ALL, {case_id: {"lines": lines[:MOST_TOLD]} for case_id, lines in told.items()})
