"""Transfers under way: what was shipped, what has arrived of it, what is lost, and for how long it is on its way.

The goods are in transit from the shipping to the arrival, in the ledger; here is counted to which transfer they belong.
Both change in one transaction, by the step `post`, with the transfer's lines locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.cases import store
from include.cases.model import Reason
from include.intake.handoffs import Handoff, hand_over
from include.stock.ledger import Movement
from include.stock.warehouse import virtual, warehouse

LOSS_SOURCE = "transfer-loss"
CLOSING_ASKED = "closing short asked"
"""Event on a transfer's case: somebody says that the rest will not come."""
ZERO = Decimal(0)


class CloseRefused(ValueError):
    """A transfer cannot be closed short; the message says why."""


@dataclass(slots=True)
class Leg:
    """A line of a transfer: one lot of an item.

    :param received: what has arrived of it.
    :param lost: what was given up.
    """

    case_id: int
    line: int
    item: str
    lot: str
    shipped: Decimal
    received: Decimal = ZERO
    lost: Decimal = ZERO

    @property
    def left(self) -> Decimal:
        """What is still under way."""
        return self.shipped - self.received - self.lost


@dataclass
class Transfer:
    """A transfer as it stands."""

    case_id: int
    number: str
    origin: str
    destination: str
    shipped_at: datetime
    legs: list[Leg] = field(default_factory=list)


@dataclass(frozen=True)
class Arriving:
    """A line of a request that takes goods out of a transfer.

    :param lot: empty where whoever counts did not look; then the lots count in the order in which they were shipped.
    """

    line: int
    item: str
    lot: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class Taken:
    """So much of a leg, taken for a line of a request."""

    line: int
    leg: Leg
    quantity: Decimal
    lost: bool


@dataclass(frozen=True)
class UnderWay:
    """What is in transit, and since when."""

    case_id: int
    number: str
    origin: str
    destination: str
    keeper: str | None
    item: str
    lot: str
    quantity: Decimal
    shipped_at: datetime
    days: int


def hold_transfers(connection: Connection, numbers: Iterable[str]) -> dict[str, Transfer]:
    """Return the transfers with these numbers, their lines locked in one order for everybody."""
    found: dict[str, Transfer] = {}
    rows = connection.execute(
        text("""
            select t.case_id, t.number, t.origin, t.destination, t.shipped_at,
                   l.line, l.item, l.lot, l.shipped, l.received, l.lost
            from stock_transfers t join stock_transfer_lines l using (case_id)
            where t.number = any(:numbers) order by t.case_id, l.line for update of l"""),
        {"numbers": sorted(set(numbers))},
    )
    for row in rows:
        transfer = found.setdefault(
            row.number, Transfer(row.case_id, row.number, row.origin, row.destination, row.shipped_at)
        )
        transfer.legs.append(Leg(row.case_id, row.line, row.item, row.lot, row.shipped, row.received, row.lost))
    return found


def take_from(transfer: Transfer, lines: Sequence[Arriving], *, lost: bool = False) -> list[Taken] | Reason:
    """Count lines on a transfer, all of them or none; what is counted is no longer under way.

    :param lost: they are given up instead of received.
    :returns: from which legs the lines are taken, or why they cannot be.
    """
    taken: list[Taken] = []
    for line in lines:
        fitting = [leg for leg in transfer.legs if leg.item == line.item and line.lot in ("", leg.lot)]
        wanted = line.quantity
        for leg in fitting:
            part = min(wanted, leg.left)
            if part > 0:
                _count(leg, part, lost)
                taken.append(Taken(line.line, leg, part, lost))
                wanted -= part
        if wanted > 0:
            give_back(taken)
            left = line.quantity - wanted
            return _too_much(transfer, line, left, lost) if fitting else _wrong_item(transfer, line)
    return taken


def give_back(taken: Iterable[Taken]) -> None:
    """Undo what was counted: it is under way again."""
    for one in taken:
        _count(one.leg, -one.quantity, one.lost)


def _count(leg: Leg, quantity: Decimal, lost: bool) -> None:
    if lost:
        leg.lost += quantity
    else:
        leg.received += quantity


def unknown(reference: str | None) -> Reason:
    """Why a request cannot be posted that names no transfer."""
    named = f"There is no transfer {reference}" if reference else "It is not said to which transfer this belongs"
    return Reason("transfer.unknown", f"{named}. Write the transfer's number as reference, and release.", "reference")


def wrong_place(transfer: Transfer, destination: str) -> Reason:
    """Why goods cannot arrive elsewhere than where they were sent."""
    return Reason(
        "transfer.elsewhere",
        f"The transfer {transfer.number} goes to {transfer.destination}, not to {destination}. Correct `to`; what is to"
        " go elsewhere arrives first, and is transferred from there.",
        "to",
    )


def _wrong_item(transfer: Transfer, line: Arriving) -> Reason:
    lot = f", lot {line.lot}," if line.lot else ""
    return Reason(
        "transfer.item",
        f"Line {line.line}: {line.item}{lot} is not on the transfer {transfer.number}. Correct the lines when it was a"
        " slip; goods that nobody shipped are entered as an adjustment.",
        "lines",
    )


def _too_much(transfer: Transfer, line: Arriving, left: Decimal, lost: bool) -> Reason:
    what = "be given up" if lost else "arrive"
    return Reason(
        "transfer.too_much",
        f"Line {line.line}: {_n(line.quantity)} of {line.item} cannot {what}, as {_n(left)} are under way in the"
        f" transfer {transfer.number}. Count again and correct the quantity; what was not shipped is entered as an"
        " adjustment.",
        "lines",
    )


def write_counts(connection: Connection, transfers: Iterable[Transfer]) -> None:
    """Write what has arrived or is lost of transfers that are held, and close those of which nothing is under way.

    Their cases look again.
    """
    every = list(transfers)
    rows = [
        {"case_id": leg.case_id, "line": leg.line, "received": f"{leg.received:f}", "lost": f"{leg.lost:f}"}
        for transfer in every
        for leg in transfer.legs
    ]
    connection.execute(
        text("""
            update stock_transfer_lines l set received = v.received, lost = v.lost
            from jsonb_to_recordset(:rows) as v(case_id bigint, line integer, received numeric, lost numeric)
            where l.case_id = v.case_id and l.line = v.line and (l.received, l.lost) <> (v.received, v.lost)"""),
        {"rows": Jsonb(rows)},
    )
    done = [transfer for transfer in every if not any(leg.left for leg in transfer.legs)]
    connection.execute(
        text("""
            update stock_transfers t
            set state = case when exists (select from stock_transfer_lines l where l.case_id = t.case_id and l.lost > 0)
                             then 'closed short' else 'received' end, closed_at = now()
            where case_id = any(:ids) and state = 'under way'"""),
        {"ids": [transfer.case_id for transfer in done]},
    )
    store.wake(connection, sorted(transfer.case_id for transfer in every))


def open_transfers(connection: Connection, requests: Iterable[Transfer], shipped: Iterable[Movement]) -> None:
    """Note what these requests shipped; one that is noted is left as it is.

    :param shipped: their movements into transit.
    """
    by_case = {request.case_id: request for request in requests}
    for movement in shipped:
        if movement.case_id in by_case:
            legs = by_case[movement.case_id].legs
            legs.append(Leg(movement.case_id, len(legs) + 1, movement.item, movement.lot, movement.quantity))
    opened = [transfer for transfer in by_case.values() if transfer.legs]
    if not opened:
        return
    connection.execute(
        text("""
            insert into stock_transfers (case_id, number, origin, destination, shipped_at)
            select * from jsonb_to_recordset(:rows)
                 as v(case_id bigint, number text, origin text, destination text, shipped_at timestamptz)
            on conflict (case_id) do nothing"""),
        {
            "rows": Jsonb(
                [
                    {
                        "case_id": transfer.case_id,
                        "number": transfer.number,
                        "origin": transfer.origin,
                        "destination": transfer.destination,
                        "shipped_at": transfer.shipped_at.isoformat(),
                    }
                    for transfer in opened
                ]
            )
        },
    )
    connection.execute(
        text("""
            insert into stock_transfer_lines (case_id, line, item, lot, shipped)
            select * from jsonb_to_recordset(:rows)
                 as v(case_id bigint, line integer, item text, lot text, shipped numeric)
            on conflict (case_id, line) do nothing"""),
        {
            "rows": Jsonb(
                [
                    {
                        "case_id": leg.case_id,
                        "line": leg.line,
                        "item": leg.item,
                        "lot": leg.lot,
                        "shipped": f"{leg.shipped:f}",
                    }
                    for transfer in opened
                    for leg in transfer.legs
                ]
            )
        },
    )


def under_way(connection: Connection, now: datetime | None = None) -> list[UnderWay]:
    """Return what is in transit, oldest first; age in full days."""
    at = now or datetime.now(UTC)
    places = warehouse().locations
    rows = connection.execute(
        text("""
            select t.case_id, t.number, t.origin, t.destination, l.item, l.lot, t.shipped_at,
                   l.shipped - l.received - l.lost as quantity
            from stock_transfers t join stock_transfer_lines l using (case_id)
            where t.state = 'under way' and l.received + l.lost < l.shipped
            order by t.shipped_at, t.case_id, l.line""")
    )
    return [
        UnderWay(
            case_id=row.case_id,
            number=row.number,
            origin=row.origin,
            destination=row.destination,
            keeper=places[row.destination].keeper if row.destination in places else None,
            item=row.item,
            lot=row.lot,
            quantity=row.quantity,
            shipped_at=row.shipped_at,
            days=max((at - row.shipped_at).days, 0),
        )
        for row in rows
    ]


@dataclass(frozen=True)
class Closing:
    """What came of asking to close a transfer short.

    :param case_id: the transfer's case.
    :param missing: item and lot -> quantity that is to be given up.
    :param changed: False when it was asked before and is still to be decided.
    """

    case_id: int
    missing: dict[tuple[str, str], Decimal]
    changed: bool


def close_short(connection: Connection, *, number: str, person: str, reason: str) -> Closing:
    """Ask that what is missing of a transfer is given up: an adjustment out of transit, which has to be approved.

    Nothing moves before that is decided, and what arrives meanwhile arrives. Call it in an authored transaction.

    :param person: id of whoever asks.
    :raises CloseRefused: when there is no such transfer, nothing of it is missing, or there is no reason.
    """
    if not reason.strip():
        raise CloseRefused("a transfer is closed short with a reason: say why no more is expected")
    wanted = "".join(number.split()).upper()
    case_id = connection.execute(
        text("select case_id from stock_transfers where upper(number) = :number"), {"number": wanted}
    ).scalar()
    if case_id is None:
        raise CloseRefused(f"there is no transfer {wanted}; its number is that of its request")
    store.lock(connection, [case_id])
    exact = connection.execute(text("select number from stock_transfers where case_id = :id"), {"id": case_id})
    transfer = hold_transfers(connection, [exact.scalar_one()])
    (found,) = transfer.values()
    missing = [leg for leg in found.legs if leg.left > 0]
    if not missing:
        raise CloseRefused(f"nothing is missing of the transfer {found.number}")
    told = {(leg.item, leg.lot): leg.left for leg in missing}
    before = connection.execute(
        text("""
            select count(*) as asked, count(*) filter (where c.state not in ('finished', 'rejected')) as open
            from cases c join deliveries d on d.id = c.delivery_id
            where c.parent_id = :id and d.source = :source"""),
        {"id": case_id, "source": LOSS_SOURCE},
    ).one()
    if before.open:
        return Closing(case_id, told, False)
    document = {
        "kind": "adjustment",
        "requester": person,
        "from": virtual("transit"),
        "reason": reason.strip(),
        "reference": found.number,
        "lines": [
            {"item": leg.item, "lot": leg.lot or None, "quantity": f"{-leg.left.normalize():f}"} for leg in missing
        ],
    }
    hand_over(connection, LOSS_SOURCE, [Handoff(f"{found.number}/{before.asked + 1}", document, case_id)])
    store.record(connection, CLOSING_ASKED, [case_id], {"lines": len(missing)})
    return Closing(case_id, told, True)


def _n(quantity: Decimal) -> str:
    return f"{quantity.normalize():f}"
