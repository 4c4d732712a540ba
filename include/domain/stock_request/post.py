"""The step `post`: what requests ask for moves, once, as far as it is there; what is not there goes as its kind says.

A batch is posted as a whole: its places are held in one order, what is there is given out in order of arrival, and all
movements are one insert. Who waits at this step for stock has its turn before those who came later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.contracts.registry import contract
from include.data.frames import array_of
from include.domain.stock_request.counts import counted_places, recheck_counts
from include.domain.stock_request.demands import (
    BACK_ORDER,
    ELSEWHERE,
    Line,
    Request,
    expiries_of,
    lots_there,
    places_of,
    requests_of,
    waiting_for_stock,
)
from include.domain.stock_request.transfers import (
    Arriving,
    Taken,
    Transfer,
    give_back,
    hold_transfers,
    open_transfers,
    take_from,
    unknown,
    write_counts,
    wrong_place,
)
from include.intake.handoffs import Handoff, hand_over
from include.stock import ledger, reservations
from include.stock.allocation import Allocation, Demand, allocate
from include.stock.counting import settle_counts
from include.stock.ledger import Movement, NotPostable
from include.stock.warehouse import warehouse

SHORT = "stock short"
"""Event: more was asked for than was there, which place and how much; for the report of exceptions."""
MOST_TOLD = 20
"""Lines of a request that an event names."""

NOTHING = Allocation((), Decimal(0))

_CLOSED = text("select nullif(hold_stock_period(), '-infinity')")
_UNDECIDED = text("""
    select case_id from stock_requests where case_id = any(:ids) and approved_by is null and posted_at is null""")
_LINES = text("""
    update stock_request_lines l set verdict = v.verdict, posted = v.posted
    from unnest(cast(:cases as bigint[]), cast(:lines as integer[]), cast(:verdicts as text[]),
                cast(:posted as numeric[])) as v(case_id, line, verdict, posted)
    where l.case_id = v.case_id and l.line = v.line""")
_POSTED = text("""
    update stock_requests set posted_at = now(), updated_at = now()
    where case_id = any(:ids) and posted_at is null""")
_LOTS = text("""
    insert into stock_lots as l (item, lot, expires_on)
    select item, lot, max(expires_on)
    from unnest(cast(:items as text[]), cast(:lots as text[]), cast(:days as date[])) as v(item, lot, expires_on)
    group by item, lot order by item, lot
    on conflict (item, lot) do update set expires_on = excluded.expires_on
    where l.expires_on is null and excluded.expires_on is not null""")


@dataclass(slots=True)
class _Part:
    """A line, or the part of it that is of one lot, with what it takes and what it gets.

    :param ours: whether the batch posts it; otherwise it waits, and what it would get is kept for it.
    :param late: stock that it lacked came within the batch, after its turn.
    """

    request: Request
    line: Line
    demand: Demand
    ours: bool = True
    got: Allocation = NOTHING
    late: bool = False


@dataclass
class _Outcome:
    """What came of a batch: what moves, what is written beside each line, and what is handed over."""

    moved: list[Movement] = field(default_factory=list)
    verdicts: list[tuple[int, int, str, Decimal]] = field(default_factory=list)
    posted: list[int] = field(default_factory=list)
    handoffs: list[Handoff] = field(default_factory=list)
    told: dict[int, dict[str, Any]] = field(default_factory=dict)


def post(work: Work) -> StepResult:
    """Post requests, each once; what falls short is handed over, left out or set aside, and may wait for stock."""
    try:
        with work.connection.begin_nested():
            return _post(work)
    except NotPostable as refused:
        if len(work.case_ids) > 1:
            raise  # the batch is halved until the one stands alone that the ledger does not take
        field_name = "to" if refused.code == "place.capacity" else "lines"
        return StepResult(quarantine={work.case_ids[0]: [Reason(refused.code, f"{refused}.", field_name)]})


def _post(work: Work) -> StepResult:
    connection, result = work.connection, StepResult()
    closed = connection.execute(_CLOSED).scalar()
    result.send_back.update(dict.fromkeys(connection.execute(_UNDECIDED, work.values).scalars(), "route"))
    requests = []
    for request in requests_of(connection, [each for each in work.case_ids if each not in result.send_back]):
        if closed and any(_moment(request, line) < closed for line in request.lines):
            result.quarantine[request.case_id] = [_closed(closed)]
        else:
            requests.append(request)
    transit = {code for code, location in warehouse().locations.items() if location.kind == "transit"}
    arriving = {request.case_id for request in requests if any(line.source in transit for line in request.lines)}
    transfers = hold_transfers(
        connection, [request.reference or "" for request in requests if request.case_id in arriving]
    )
    _hold(connection, requests)
    result.send_back.update(recheck_counts(connection, [request.case_id for request in requests]))
    requests = [request for request in requests if request.case_id not in result.send_back]
    taken = _take_from_transfers([request for request in requests if request.case_id in arriving], transfers, result)
    requests = [request for request in requests if request.case_id not in result.quarantine]
    parts = _parts(connection, requests, taken)
    outcome = _outcome(work, requests, parts, result)
    for case_id in result.quarantine.keys() & taken.keys():
        give_back(taken[case_id])
    _write(connection, requests, outcome)
    write_counts(connection, transfers.values())
    store.wake(
        connection, sorted({part.request.case_id for part in parts if not part.ours and (part.got.taken or part.late)})
    )
    return result


def _hold(connection: Connection, requests: Sequence[Request]) -> None:
    """Hold every place that the batch may touch, in one order for everybody; end what was reserved for the batch."""
    case_ids = [request.case_id for request in requests]
    places = places_of(requests, lots_there(connection, requests))
    places.update(counted_places(connection, case_ids))
    places.update(promise.place for promise in reservations.reservations_of(connection, case_ids))
    ledger.hold(connection, places)
    reservations.release(connection, case_ids)
    reservations.lapse(connection, places)


def _take_from_transfers(
    requests: Iterable[Request], transfers: Mapping[str, Transfer], result: StepResult
) -> dict[int, list[Taken]]:
    """Count what arrives, or is given up, on its transfer; what does not fit is set aside."""
    taken: dict[int, list[Taken]] = {}
    for request in requests:
        transfer, lost = transfers.get(request.reference or ""), request.rules.signed
        if transfer is None:
            found: list[Taken] | Reason = unknown(request.reference)
        elif not lost and request.destination != transfer.destination:
            found = wrong_place(transfer, request.destination)
        else:
            wanted = [Arriving(line.line, line.item, line.lot or "", abs(line.quantity)) for line in request.lines]
            found = take_from(transfer, wanted, lost=lost)
        if isinstance(found, Reason):
            result.quarantine[request.case_id] = [found]
        else:
            taken[request.case_id] = found
    return taken


def _parts(connection: Connection, requests: Sequence[Request], taken: Mapping[int, Sequence[Taken]]) -> list[_Part]:
    """Give out what is there: first comes what brings goods, then those who take, in order of arrival.

    Requests of other batches that wait for the same goods have their share kept.
    """
    parts = [part for request in requests for part in _parts_of(request, taken.get(request.case_id))]
    waiting = waiting_for_stock(connection, requests)
    every = [*requests, *waiting]
    there = {part.demand.source for part in parts} | {part.demand.destination for part in parts}
    for request in waiting:
        for line in request.lines:
            if line.source in there:
                line.destination = ELSEWHERE
                parts.append(_Part(request, line, request.demand(line), ours=False))
    internal = {code for code, location in warehouse().locations.items() if location.kind == "internal"}
    takers = {part.request.case_id for part in parts if part.line.source in internal and not part.request.feed}

    def turn(part: _Part) -> tuple[bool, int, int, int]:
        takes = part.request.case_id in takers or part.line.source in internal
        return takes, part.request.arrived, part.request.case_id, part.line.line

    parts.sort(key=turn)
    supply = ledger.on_hand(connection, places_of(every, lots_there(connection, every)))
    expiries = expiries_of(connection, every)
    demands = [part.demand for part in parts]
    for part, got in zip(parts, allocate(demands, supply, expiries), strict=True):
        part.got = got
    if any(turn(part)[0] and part.demand.destination in internal for part in parts):  # one corrects up and down at once
        short = [part for part in parts if part.got.missing > 0 and part.request.shortage == "back_order"]
        again = allocate([*demands, *(part.demand for part in short)], supply, expiries)[len(demands) :]
        for part, got in zip(short, again, strict=True):
            part.late = bool(got.taken)
    return parts


def _parts_of(request: Request, taken: Sequence[Taken] | None) -> list[_Part]:
    if taken is None:
        return [_Part(request, line, request.demand(line)) for line in request.lines]
    lines = {line.line: line for line in request.lines}
    lots: dict[tuple[int, str], Decimal] = {}
    for one in taken:
        lots[one.line, one.leg.lot] = lots.get((one.line, one.leg.lot), Decimal(0)) + one.quantity
    return [
        _Part(request, lines[line], request.demand(lines[line], lot=lot, quantity=quantity))
        for (line, lot), quantity in lots.items()
    ]


def _outcome(work: Work, requests: Sequence[Request], parts: Iterable[_Part], result: StepResult) -> _Outcome:
    by_case: dict[int, list[_Part]] = {request.case_id: [] for request in requests}
    for part in parts:
        if part.ours:
            by_case[part.request.case_id].append(part)
    outcome, team = _Outcome(), contract(work.workflow).step(work.step).owner.id
    locations = warehouse().locations
    for request in requests:
        its = by_case[request.case_id]
        short = [part for part in its if part.got.missing > 0]
        if short and not any(part.line.waited for part in its):
            outcome.told[request.case_id] = _told(short)
        if short and not request.takes_part:
            result.quarantine[request.case_id] = [_short(short)]
            continue
        nothing = bool(short) and not any(part.got.taken for part in its)
        if nothing and request.shortage == "back_order":
            outcome.verdicts += [(request.case_id, part.line.line, "back_order", Decimal(0)) for part in its]
            place = locations.get(its[0].line.source)
            if any(part.late for part in its):
                result.put_back[request.case_id] = _now()
            else:
                result.wait[request.case_id] = (place.keeper if place else None) or team
            continue
        _post_request(request, its, outcome)
    return outcome


def _post_request(request: Request, parts: Sequence[_Part], outcome: _Outcome) -> None:
    """Note the movements of a request, and hand over what is left of it."""
    verdict = "back_order" if request.shortage == "back_order" else "short"
    posted: dict[int, Decimal] = {}
    rest: list[_Part] = []
    for part in parts:
        line, demand = part.line, part.demand
        for lot, quantity in part.got.taken:
            key = f"stock_request/{request.case_id}/{line.line}"
            outcome.moved.append(
                Movement(
                    key=f"{key}/{lot}" if lot else key,
                    kind=request.kind,
                    item=line.item,
                    source=demand.source,
                    destination=demand.destination,
                    quantity=quantity,
                    moved_at=_moment(request, line),
                    lot=lot,
                    unit_cost=line.unit_cost,
                    case_id=request.case_id,
                    line=line.line,
                )
            )
            posted[line.line] = posted.get(line.line, Decimal(0)) + quantity
        if part.got.missing > 0:
            rest.append(part)
    short = {part.line.line for part in rest}
    for number in dict.fromkeys(part.line.line for part in parts):
        done = posted.get(number, Decimal(0))
        outcome.verdicts.append((request.case_id, number, verdict if number in short else "posted", done))
    outcome.posted.append(request.case_id)
    if rest and verdict == "back_order":
        outcome.handoffs.append(_back_order(request, rest))


def _write(connection: Connection, requests: Sequence[Request], outcome: _Outcome) -> None:
    internal = {code: location.real for code, location in warehouse().locations.items()}
    expiries = {(request.case_id, line.line): line.expires_on for request in requests for line in request.lines}
    came = [movement for movement in outcome.moved if movement.lot and not internal[movement.source]]
    if came:
        values = {
            "items": [movement.item for movement in came],
            "lots": [movement.lot for movement in came],
            "days": [expiries[movement.case_id or 0, movement.line or 0] for movement in came],
        }
        connection.execute(_LOTS, values)
    ledger.post(connection, outcome.moved)
    columns = zip(*outcome.verdicts, strict=True) if outcome.verdicts else [()] * 4
    names = ("cases", "lines", "verdicts", "posted")
    connection.execute(_LINES, {name: array_of(column) for name, column in zip(names, columns, strict=True)})
    connection.execute(_POSTED, {"ids": outcome.posted})
    settle_counts(connection, outcome.posted)
    shipping = [
        Transfer(request.case_id, request.number, request.origin, request.destination, _now())
        for request in requests
        if request.rules.by_way_of
    ]
    open_transfers(connection, shipping, outcome.moved)
    if outcome.handoffs:
        hand_over(connection, BACK_ORDER, outcome.handoffs)
    store.record_each(connection, SHORT, outcome.told)


def _back_order(request: Request, rest: Sequence[_Part]) -> Handoff:
    """What is left of a request, as a request of its own."""
    internal = {code for code, location in warehouse().locations.items() if location.kind == "internal"}
    document = {
        "kind": request.kind,
        "requester": request.requester,
        "entered_by": request.entered_by,
        "from": request.origin if request.origin in internal else None,
        "to": request.destination if request.destination in internal else None,
        "reason": request.reason,
        "reference": request.reference or request.number,
        "lines": [
            {
                "item": part.line.item,
                "quantity": f"{part.got.missing.normalize():f}",
                "unit": part.line.unit,
                "lot": part.line.lot or None,
                "note": part.line.note,
            }
            for part in rest
        ],
    }
    return Handoff(str(request.case_id), document, request.case_id)


def _moment(request: Request, line: Line) -> datetime:
    """When a line moves: when it is said to have moved; what had to wait for stock moves when it came."""
    return _now() if line.waited or request.told_by == BACK_ORDER else line.occurred_at


def _now() -> datetime:
    return datetime.now(UTC)


def _closed(until: datetime) -> Reason:
    day = until.astimezone(warehouse().zone).date().isoformat()
    message = f"The books are closed up to {day}. Write a moment of the open period as occurred_at, and release."
    return Reason("period.closed", message, "occurred_at")


def _short(parts: Sequence[_Part]) -> Reason:
    lines = [
        f"line {part.line.line}: {_n(part.got.missing)} of {_n(part.demand.quantity)} {part.line.unit} of"
        f" {part.line.item}{f', lot {part.line.lot},' if part.line.lot else ''} at {part.line.source}"
        for part in parts[:MOST_TOLD]
    ]
    return Reason(
        "stock.short",
        f"Not there, or reserved for others: {'; '.join(lines)}. Nothing was posted. Count the place or correct the"
        " quantity, or wait until there is enough; then release.",
        "lines",
    )


def _told(parts: Sequence[_Part]) -> dict[str, Any]:
    """Every line, for reports sum them."""
    return {
        "lines": [
            {
                "item": part.line.item,
                "place": part.line.source,
                "lot": part.line.lot,
                "asked": _n(part.demand.quantity),
                "missing": _n(part.got.missing),
            }
            for part in parts
        ],
        "short": len(parts),
    }


def _n(quantity: Decimal) -> str:
    return f"{quantity.normalize():f}"
