"""What requests take from where, in order of arrival, as the steps after the decision need it.

Reads only; what a batch holds, and what is posted, is for the steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, text

from include.domain.stock_request.kinds import Kind, kinds
from include.stock.allocation import Demand
from include.stock.ledger import Place
from include.stock.warehouse import warehouse

BACK_ORDER = "stock-back-order"
"""The source of what was not there when it was asked for."""
ELSEWHERE = "-"
"""Where goods go to that are only kept for somebody while a batch is counted out: to nobody's place."""


@dataclass(slots=True)
class Line:
    """A line that is still to be posted.

    :param quantity: in the item's base unit; with a sign where it is adjusted.
    :param lot: '' for items without lots, None for whichever expires first.
    :param source: the location that it leaves.
    :param destination: the location at which it arrives.
    :param waited: it waits for stock, or did.
    """

    line: int
    item: str
    unit: str
    quantity: Decimal
    lot: str | None
    expires_on: date | None
    unit_cost: Decimal | None
    note: str | None
    occurred_at: datetime
    source: str
    destination: str
    waited: bool


@dataclass(slots=True)
class Request:
    """A request, with the lines that are still to be posted.

    :param told_by: the source of its delivery.
    :param arrived: the case that first asked for it; a back-order stands where that stood which it is the rest of.
    """

    case_id: int
    number: str
    kind: str
    rules: Kind
    told_by: str | None
    feed: bool
    requester: str | None
    entered_by: str | None
    origin: str
    destination: str
    reason: str | None
    reference: str | None
    occurred_at: datetime
    arrived: int
    zone: ZoneInfo
    lines: list[Line] = field(default_factory=list)

    @property
    def shortage(self) -> str:
        """What becomes of what is not there. The lines of a feed stand by themselves: none stops the others."""
        return "partial" if self.feed and self.rules.shortage == "exception" else self.rules.shortage

    @property
    def takes_part(self) -> bool:
        """Whether what is there is taken when there is not enough."""
        return self.shortage != "exception"

    def demand(self, line: Line, *, lot: str | None = None, quantity: Decimal | None = None) -> Demand:
        """Return what a line takes.

        :param lot: another lot than the line's.
        :param quantity: another quantity than the line's.
        """
        which = line.lot if lot is None else lot
        fresh = which is None and not self.rules.expired
        return Demand(
            item=line.item,
            source=line.source,
            destination=line.destination,
            quantity=abs(line.quantity) if quantity is None else quantity,
            lot=which,
            part=self.takes_part,
            group=None if self.takes_part else self.case_id,
            day=line.occurred_at.astimezone(self.zone).date() if fresh else date.min,
        )


_REQUESTS = text("""
    with recursive up as (
        select case_id, case_id as root, source from stock_requests where case_id = any(:ids)
        union all
        select up.case_id, p.case_id, p.source
        from up join cases c on c.id = up.root join stock_requests p on p.case_id = c.parent_id
        where up.source = :back_order
    )
    select r.*, a.arrived from stock_requests r
    join (select case_id, min(root) as arrived from up group by case_id) a using (case_id)
    where r.kind is not null and r.posted_at is null order by a.arrived, r.case_id""")
_LINES = text("""
    select l.case_id, l.line, l.item, l.quantity, l.lot, l.expires_on, l.unit_cost, l.note, l.occurred_at,
           l.verdict, i.tracking, i.base_unit
    from stock_request_lines l join stock_items i on i.code = l.item
    where l.case_id = any(:ids) and (l.verdict is null or l.verdict = 'back_order') and l.quantity <> 0
    order by l.case_id, l.line""")
_WAITING = text("""
    select distinct l.case_id from stock_request_lines l
    join stock_requests r using (case_id) join cases c on c.id = l.case_id
    where l.verdict = 'back_order' and l.item = any(:items) and r.posted_at is null
      and c.stage = 'post' and c.state in ('waiting', 'pending', 'running') and not c.id = any(:ids)""")
_LOTS = text("""
    select item, location, lot from stock_balances b
    join (select distinct * from unnest(cast(:items as text[]), cast(:locations as text[])) as v(item, location)) v
         using (item, location)
    where b.quantity > 0 and b.lot <> ''""")
_EXPIRIES = text("select item, lot, expires_on from stock_lots where item = any(:items) and expires_on is not null")


def requests_of(connection: Connection, case_ids: Sequence[int]) -> list[Request]:
    """Return the cases' requests that are not posted, in order of arrival."""
    every, zone = kinds(), warehouse().zone
    found = {
        row.case_id: Request(
            case_id=row.case_id,
            number=row.number,
            kind=row.kind,
            rules=every[row.kind],
            told_by=row.source,
            feed=row.feed,
            requester=row.requester,
            entered_by=row.entered_by,
            origin=row.origin,
            destination=row.destination,
            reason=row.reason,
            reference=row.reference,
            occurred_at=row.occurred_at,
            arrived=row.arrived,
            zone=zone,
        )
        for row in connection.execute(_REQUESTS, {"ids": list(case_ids), "back_order": BACK_ORDER})
    }
    moves: dict[tuple[str, str, str, bool], tuple[str, str]] = {}
    for case, line, item, quantity, lot, expires, cost, note, at, verdict, tracking, unit in connection.execute(
        _LINES, {"ids": list(found)}
    ):
        request = found[case]
        ends = (request.kind, request.origin, request.destination, quantity < 0)
        if ends not in moves:
            moves[ends] = request.rules.movement(request.origin, request.destination, quantity)
        source, destination = moves[ends]
        request.lines.append(
            Line(
                line=line,
                item=item,
                unit=unit,
                quantity=quantity,
                lot=lot or ("" if tracking == "none" else None),
                expires_on=expires,
                unit_cost=cost,
                note=note,
                occurred_at=at or request.occurred_at,
                source=source,
                destination=destination,
                waited=verdict == "back_order",
            )
        )
    return list(found.values())


def waiting_for_stock(connection: Connection, requests: Sequence[Request]) -> list[Request]:
    """Return other requests that wait at `post` for items of these ones, in order of arrival.

    Whoever decides that a request waits holds its places; with the same places held, all who wait are seen.
    """
    items = {line.item for request in requests for line in request.lines}
    ids = connection.execute(_WAITING, {"items": sorted(items), "ids": [request.case_id for request in requests]})
    found = requests_of(connection, ids.scalars().all())
    for request in found:
        request.lines = [line for line in request.lines if line.item in items]
    return found


def lots_there(connection: Connection, requests: Iterable[Request]) -> dict[tuple[str, str], list[str]]:
    """Return the lots at each item and location out of which a line may take any: those that are there or come in."""
    wanted, coming = set(), []
    for request in requests:
        for line in request.lines:
            if line.lot is None:
                wanted.add((line.item, line.source))
            elif line.lot:
                coming.append((line.item, line.destination, line.lot))
    if not wanted:
        return {}
    values = {"items": [item for item, _ in wanted], "locations": [location for _, location in wanted]}
    found: dict[tuple[str, str], set[str]] = {place: set() for place in wanted}
    for item, location, lot in [*connection.execute(_LOTS, values), *coming]:
        if (item, location) in found:
            found[item, location].add(lot)
    return {place: sorted(lots) for place, lots in found.items()}


def places_of(requests: Iterable[Request], lots: Mapping[tuple[str, str], Sequence[str]]) -> set[Place]:
    """Return every place that posting these requests may touch."""
    places = set()
    for request in requests:
        for line in request.lines:
            for lot in lots.get((line.item, line.source), ()) if line.lot is None else (line.lot,):
                places.add(Place(line.item, line.source, lot))
                places.add(Place(line.item, line.destination, lot))
    return places


def expiries_of(connection: Connection, requests: Sequence[Request]) -> dict[tuple[str, str], date | None]:
    """Return the last days of the lots among which these requests may choose."""
    items = {line.item for request in requests for line in request.lines if line.lot is None}
    if not items:
        return {}
    coming: dict[tuple[str, str], date | None] = {
        (line.item, line.lot): line.expires_on
        for request in requests
        for line in request.lines
        if line.lot and line.expires_on
    }
    rows = connection.execute(_EXPIRIES, {"items": sorted(items)})
    return {**coming, **{(row.item, row.lot): row.expires_on for row in rows}}
