"""The step `read_request`: what was sent, in columns and lines, with quantities in the items' base units.

It sets aside only what cannot be read as a whole. Lines keep the code of what is wrong with them for the next step. A
request of which something is posted stays as it is.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from include.approvals.people import people
from include.cases.model import Reason, StepResult, Work
from include.data.frames import copy_rows
from include.data.normalise.text import fold, given, paragraphs
from include.domain.stock_request.counts import compare_counts
from include.domain.stock_request.facts import keeper_of
from include.domain.stock_request.feeds import Feed, feed
from include.domain.stock_request.kinds import Kind, decided, kinds
from include.domain.stock_request.reading import Line, Reader, clean
from include.intake.received import Received, received
from include.stock.items import Item, load_items, upsert_items
from include.stock.warehouse import sync, virtual

COUNT = "count"
MOST_LINES = 10_000
"""Of one request; a feed may have any number."""
PUT_RIGHT = frozenset({"adjustment", "count", "write_off"})
"""Kinds that are never decided elsewhere: where nobody asks, the keeper of the place answers, and the rules decide."""
_LOSS = "Gone without a sale"
MANY_LINES = 10_000
"""Lines of a batch after which what the database knows of its tables is out of date."""


@dataclass
class Request:
    """A request as far as it could be read.

    :param entries: its lines as they were sent.
    """

    case_id: int
    values: dict[str, Any]
    kind: Kind | None
    feed: Feed | None
    entries: Sequence[Any]
    reasons: list[Reason] = field(default_factory=list)

    @property
    def is_count(self) -> bool:
        """Whether its quantities are what was counted."""
        return bool(self.values["kind"] == COUNT)


def read_request(work: Work) -> StepResult:
    """Read and write the requests of a batch."""
    connection = work.connection
    sync(connection)
    done = posted(connection, work.case_ids)
    reader = Reader({})
    requests = [_requested(delivery, reader) for delivery in received(work) if delivery.case_id not in done]
    _note_who_corrected(connection, requests)
    _give_numbers(connection, requests)
    _find_transfers(connection, requests)
    _write(connection, requests)
    items = _items(connection, requests)
    _write_lines(connection, requests, items)
    compare_counts(connection, [request.case_id for request in requests if request.is_count])
    return StepResult(quarantine={request.case_id: request.reasons for request in requests if request.reasons})


def posted(connection: Connection, case_ids: Sequence[int]) -> set[int]:
    """Return those of some cases of which something moved already; nothing about these is decided anew."""
    return set(
        connection.execute(
            text("""
                select case_id from stock_requests where case_id = any(:ids) and posted_at is not null
                union select case_id from stock_movements where case_id = any(:ids)"""),
            {"ids": list(case_ids)},
        ).scalars()
    )


def _requested(delivery: Received, reader: Reader) -> Request:
    fields = delivery.corrected
    reasons = list(delivery.reasons)
    taken_as = feed(delivery.source)
    name, kind = _kind(fields.get("kind"), reasons)
    loss = _is_loss(name, taken_as, fields.get("lines"))
    if loss:
        name, kind = "adjustment", kinds()["adjustment"]
    nobody = taken_as is not None or delivery.source in decided()
    origin, destination = _ends(kind, clean(fields.get("from")), clean(fields.get("to")), taken_as)
    requester = None if nobody else _person(fields.get("requester"))
    if nobody and name in PUT_RIGHT:
        requester = keeper_of(origin)
    values: dict[str, Any] = {
        "case_id": delivery.case_id,
        "number": None if nobody else clean(fields.get("number")),
        "source": delivery.source,
        "kind": name,
        "feed": taken_as is not None,
        "requester": requester,
        "entered_by": None if nobody else _person(fields.get("entered_by")),
        "origin": origin,
        "destination": destination,
        "reason": (paragraphs(fields.get("reason")) or (_LOSS if loss else ""))[:2000] or None,
        "reference": (clean(fields.get("reference")) or clean(fields.get("number")) or "")[:200] or None,
        "sheet": (clean(fields.get("sheet")) or "")[:100] or None,
        "occurred_at": _moment(reader.moment(fields.get("occurred_at"), taken_as), delivery, fields, reasons),
    }
    lines = fields.get("lines")
    entries: Sequence[Any] = lines if isinstance(lines, list) else []
    told = {reason.field for reason in reasons}
    if not entries and "lines" not in told:
        reasons.append(Reason("lines.missing", "There are no lines. Write at least one, or discard it.", "lines"))
    elif taken_as is None and len(entries) > MOST_LINES:
        message = f"{len(entries)} lines are more than {MOST_LINES}. Have it sent in parts, and discard it."
        reasons.append(Reason("lines.too_many", message, "lines"))
        entries = []
    return Request(delivery.case_id, values, kind, taken_as, entries, reasons)


def _is_loss(name: str | None, taken_as: Feed | None, lines: Any) -> bool:
    """Whether a feed tells as an issue what is gone without one."""
    if name != "issue" or taken_as is None or taken_as.negative != "adjustment" or not isinstance(lines, list):
        return False
    told = [str(line.get("quantity") or "").strip() for line in lines if isinstance(line, Mapping)]
    return bool(told) and all(quantity.startswith("-") for quantity in told)


def _kind(sent: Any, reasons: list[Reason]) -> tuple[str | None, Kind | None]:
    name = (fold(sent) or "").replace(" ", "_")
    if name in kinds():
        return name, kinds()[name]
    if not any(reason.field == "kind" for reason in reasons):
        known = ", ".join(kinds())
        message = f"“{(given(sent) or '')[:50]}” is no kind of request. Write one of: {known}."
        reasons.append(Reason("kind.unknown", message, "kind"))
    return None, None


def _ends(kind: Kind | None, origin: str | None, destination: str | None, taken_as: Feed | None) -> tuple[Any, Any]:
    """Where it comes from and goes to; the end at which nothing is ours need not be named.

    A sender may name one location alone, and then it is given for both ends.
    """
    if kind is None:
        return origin, destination
    default = taken_as.location if taken_as else None
    ends = []
    for sort, named, other in ((kind.source, origin, destination), (kind.destination, destination, origin)):
        if sort == "internal":
            ends.append((named and named.upper()) or default)
        else:
            ends.append(named.upper() if named and named != other else virtual(sort))
    return ends[0], ends[1]


def _moment(at: datetime | None, delivery: Received, fields: Mapping[str, Any], reasons: list[Reason]) -> datetime:
    """When it happened; when it was reported, where that is not said."""
    if at is None and clean(fields.get("occurred_at")) is not None:
        message = "When it happened cannot be read. Write it as 2026-01-31T14:30."
        reasons.append(Reason("occurred_at.unreadable", message, "occurred_at"))
    return at or delivery.received_at or datetime.now(UTC)


def _person(value: Any) -> str | None:
    """The id of whoever is meant by an id, an account or an address; what fits nobody stays as it was written."""
    told = clean(value)
    if told is None:
        return None
    known = people()
    if told in known.by_id:
        return told
    wanted = told.casefold()
    found = [person.id for person in known if wanted in {person.email.casefold(), (person.airflow or "").casefold()}]
    return found[0] if len(found) == 1 else told[:200]


def _note_who_corrected(connection: Connection, requests: Sequence[Request]) -> None:
    """Whoever corrected a request answers for what it says now: they do not approve it.

    What nobody asked for, as a line of a till, is theirs from then on.
    """
    rows = connection.execute(
        text("""
            select distinct on (case_id) case_id, actor from corrections
            where case_id = any(:ids) and actor like 'user:%' order by case_id, id desc"""),
        {"ids": [request.case_id for request in requests]},
    )
    corrected = {row.case_id: row.actor.removeprefix("user:") for row in rows}
    for request in requests:
        if request.case_id in corrected:
            account = corrected[request.case_id]
            person = people().by_airflow(None, account)
            request.values["entered_by"] = person.id if person else account
            request.values["requester"] = request.values["requester"] or request.values["entered_by"]


def _give_numbers(connection: Connection, requests: Sequence[Request]) -> None:
    """Keep the number that the sender gave, unless another request has it; else `ST-<case>`."""
    wanted = {request.case_id: number for request in requests if (number := request.values["number"])}
    rows = connection.execute(
        text("select number, case_id from stock_requests where number = any(:numbers)"),
        {"numbers": list(wanted.values())},
    )
    taken = {row.number: row.case_id for row in rows}
    for request in requests:
        case_id, number = request.case_id, wanted.get(request.case_id)
        if number and (number.upper().startswith("ST-") or taken.setdefault(number, case_id) != case_id):
            message = f"The number {number[:50]} is another request's. Discard it if it is the same, or correct it."
            request.reasons.append(Reason("request.number", message, "number"))
            number = None
        request.values["number"] = number[:100] if number else f"ST-{case_id}"


def _find_transfers(connection: Connection, requests: Sequence[Request]) -> None:
    """Give an arrival the destination of its transfer, where it names none."""
    arrivals = [each for each in requests if each.values["kind"] == "transfer_receipt"]
    rows = connection.execute(
        text("select number, destination from stock_transfers where number = any(:numbers)"),
        {"numbers": [each.values["reference"] for each in arrivals if each.values["reference"]]},
    )
    destinations = {row.number: row.destination for row in rows}
    for each in arrivals:
        each.values["destination"] = each.values["destination"] or destinations.get(each.values["reference"])


COLUMNS = (
    *("case_id", "number", "source", "kind", "feed", "requester", "entered_by", "origin", "destination", "reason"),
    *("reference", "sheet", "occurred_at"),
)


def _write(connection: Connection, requests: Sequence[Request]) -> None:
    """Write the requests; of one that comes here again what later steps found is forgotten."""
    names = ", ".join(COLUMNS)
    renewed = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
    forgotten = ", ".join(f"{name} = null" for name in ("value", "policy", "routing", "digest", "approved_by"))
    connection.execute(
        text("create temporary table incoming on commit drop as select * from stock_requests limit 0"),
    )
    copy_rows(connection, "incoming", COLUMNS, ([each.values[name] for name in COLUMNS] for each in requests))
    connection.execute(
        text(f"""
            insert into stock_requests ({names}) select {names} from incoming order by case_id
            on conflict (case_id) do update set {renewed}, {forgotten}, updated_at = now()""")
    )
    connection.execute(text("drop table incoming"))


def _items(connection: Connection, requests: Sequence[Request]) -> dict[str, Item]:
    """The items that the lines name; feeds that may, teach those that are not known."""
    named = {
        code
        for request in requests
        for entry in request.entries
        if isinstance(entry, dict) and (code := clean(entry.get("item")))
    }
    items = load_items(connection, named | {code.upper() for code in named})
    unknown = {code for code in named if code not in items and code.upper() not in items}
    learned: dict[str, Item] = {}
    for request in requests:
        _learn(request, unknown, learned)
    if learned:
        upsert_items(connection, [learned[code] for code in sorted(learned)], only_new=True)
        items |= load_items(connection, list(learned))
    return items


def _learn(request: Request, unknown: Container[str], learned: dict[str, Item]) -> None:
    """Add the unknown items of a request, as it first names them, where its feed may teach them."""
    taken_as = request.feed
    if taken_as is None or taken_as.unknown_items != "learn" or taken_as.learned is None:
        return
    for entry in request.entries:
        if not isinstance(entry, dict) or (named := clean(entry.get("item"))) not in unknown or named is None:
            continue
        code = named.upper()
        if code not in learned and len(named) <= 100 and taken_as.stocks(named):
            learned[code] = Item(
                code=code,
                title=(clean(entry.get("description")) or code)[:200],
                group=taken_as.learned.group,
                unit=taken_as.learned.unit,
                decimals=taken_as.learned.decimals,
                learned_from=request.values["source"],
            )


def _write_lines(connection: Connection, requests: Sequence[Request], items: Mapping[str, Item]) -> None:
    """Write the lines anew; one that was handed over to a case of its own is that case's for good."""
    reader = Reader(items)
    ids = {"ids": [request.case_id for request in requests]}
    held = {
        (row.case_id, row.line): {"verdict": "held", "reason": row.reason}
        for row in connection.execute(
            text(
                "select case_id, line, reason from stock_request_lines where case_id = any(:ids) and verdict = 'held'"
            ),
            ids,
        )
    }
    connection.execute(text("delete from stock_request_lines where case_id = any(:ids)"), ids)
    rows = (
        (request.case_id, *(line._replace(**held[place]) if (place := (request.case_id, line.line)) in held else line))
        for request in requests
        for line in reader.read(request.entries, request.kind, counted=request.is_count, feed=request.feed)
    )
    written = copy_rows(connection, "stock_request_lines", ("case_id", *Line._fields), rows)
    if written > MANY_LINES:
        # the steps that follow come before the database would look at the tables by itself
        connection.execute(text("analyze stock_requests, stock_request_lines, stock_items"))
