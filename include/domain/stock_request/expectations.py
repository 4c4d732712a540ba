"""What a request must be like to be posted: the reviewed rules of the step `validate`.

Rules of lines are conditions in SQL, because there are hundreds of thousands of lines: the suite looks at requests,
and for each rule at which of a request's lines break it. Every rule holds or sets aside; feeds are parted line by line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from include.approvals.people import Person, people
from include.data.validation.runner import meta
from include.domain.stock_request.kinds import decided, kinds
from include.domain.stock_request.transfers import LOSS_SOURCE
from include.stock.warehouse import warehouse

if TYPE_CHECKING:
    from great_expectations import ExpectationSuite

CLOCKS_DIFFER = "10 minutes"
UNLIKELY = 10
"""A cost so many times above or below the standard cost was mistyped."""
MOST_NAMED = 10
"""Lines that a reason names."""


class LineRule(NamedTuple):
    """A rule of lines.

    :param message: what is wrong and what to do; `{lines}` stands for the lines with their items.
    :param broken: SQL that is true where it is broken; None where reading found it.
    """

    code: str
    message: str
    broken: str | None = None


TAKES = "l.kind = any(:takes)"
LEAVES = f"({TAKES} or l.kind = any(:signed) and l.quantity < 0)"
COMES = "(l.kind = any(:brings) or l.kind = 'adjustment' and l.quantity > 0)"

LINE_RULES = (
    LineRule("line.unreadable", "{lines}: that is no line. Write it with item and quantity."),
    LineRule("item.missing", "{lines}: no item is named. Write its code, or take the line out."),
    LineRule(
        "item.unknown",
        "{lines}: there is no such item. Correct the code, or have the item added.",
        "l.item is not null and i.code is null",
    ),
    LineRule(
        "item.inactive",
        "{lines}: the item is not in use any more. Name the one that replaces it, or have it made active.",
        f"not i.active and ({TAKES} or {COMES})",
    ),
    LineRule("quantity.missing", "{lines}: no quantity is written. Write it, or take the line out."),
    LineRule("quantity.unreadable", "{lines}: the quantity cannot be read. Write it as 12 or 0.5."),
    LineRule("quantity.too_large", "{lines}: no quantity is as large. Correct it."),
    LineRule("quantity.decimals", "{lines}: the item cannot be divided as far as that. Correct the quantity."),
    LineRule("quantity.zero", "{lines}: nothing is moved. Write how many, or take the line out."),
    LineRule(
        "quantity.negative",
        "{lines}: the quantity is below zero, which only an adjustment may be. Correct quantity or kind.",
    ),
    LineRule("unit.unknown", "{lines}: the item is not counted in this unit. Correct it, or add it to the item."),
    LineRule("unit.inexact", "{lines}: in the item's own unit the quantity is not exact. Write it in that unit."),
    LineRule(
        "lot.missing",
        "{lines}: the item is told apart by lots, and none is named. Write the lot that is on the goods.",
        f"i.tracking = 'lot' and l.lot = '' and not ({TAKES})",
    ),
    LineRule(
        "lot.serial",
        "{lines}: every piece has a serial number, and none is named. Write one line for each piece, with its number.",
        "i.tracking = 'serial' and l.lot = ''",
    ),
    LineRule(
        "lot.unwanted",
        "{lines}: the item is not told apart by lots. Leave the lot out.",
        "i.tracking = 'none' and l.lot <> ''",
    ),
    LineRule(
        "lot.quantity",
        "{lines}: a serial number is of one piece. Write one line for each.",
        "i.tracking = 'serial' and abs(coalesce(l.counted, l.quantity)) > 1",
    ),
    LineRule(
        "lot.twice",
        "{lines}: the same serial number stands on several lines. Correct the numbers.",
        "i.tracking = 'serial' and l.lot <> '' and l.same > 1",
    ),
    LineRule(
        "lot.unknown",
        "{lines}: there is no such lot of the item. Correct it to the one that is on the goods.",
        f"i.tracking <> 'none' and l.lot <> '' and o.item is null and {LEAVES}",
    ),
    LineRule(
        "lot.expired",
        "{lines}: the lot is past its day. Take another one, and have this one written off.",
        "l.kind = any(:fresh) and o.expires_on < (l.at at time zone :zone)::date",
    ),
    LineRule(
        "lot.expires_on",
        "{lines}: the day of expiry cannot be read, or is not the one that is known of the lot. Correct day or lot.",
        "l.expires_on <> o.expires_on",
    ),
    LineRule(
        "lot.undated",
        "{lines}: each lot of the item has a last day, and this one's is not known. Write it as expires_on.",
        "i.expires and l.lot <> '' and l.kind in ('receipt', 'return') and l.expires_on is null"
        " and o.expires_on is null and l.reason is distinct from 'lot.expires_on'",
    ),
    LineRule(
        "line.counted_twice",
        "{lines}: the same place is counted twice. Write one line with all of it.",
        "l.counted is not null and l.same > 1",
    ),
    LineRule("unit_cost.unreadable", "{lines}: the cost cannot be read. Write it as 1234.50, or leave it out."),
    LineRule("unit_cost.too_large", "{lines}: nothing costs as much. Correct the cost."),
    LineRule("unit_cost.decimals", "{lines}: the cost has more than six places. Correct it."),
    LineRule("unit_cost.negative", "{lines}: the cost is below zero. Correct it.", "l.unit_cost < 0"),
    LineRule(
        "unit_cost.unlikely",
        "{lines}: the cost is far from what the item costs. Correct it, or the item's standard cost.",
        f"l.unit_cost > 0 and i.standard_cost > 0 and (l.unit_cost > {UNLIKELY} * i.standard_cost"
        f" or l.unit_cost * {UNLIKELY} < i.standard_cost)",
    ),
    LineRule("occurred_at.unreadable", "{lines}: when it happened cannot be read. Write it as 2026-01-31T14:30."),
    LineRule(
        "occurred_at.future",
        "{lines}: it is said to happen later than now. Correct when it happened.",
        f"l.at > now() + interval '{CLOCKS_DIFFER}'",
    ),
    LineRule(
        "occurred_at.closed",
        "{lines}: it happened in a period that is closed. Date it after that, and note when it really was.",
        "l.at < (select closed_until from stock_closing)",
    ),
    LineRule(
        "place.hazard",
        "{lines}: the location may not hold goods of this hazard class. Choose one that may.",
        f"{COMES} and place.kind = 'internal' and i.hazard is not null and i.hazard <> all(place.hazards)",
    ),
    LineRule(
        "place.temperature",
        "{lines}: the location is not kept at what the goods need. Choose one that is.",
        f"{COMES} and place.kind = 'internal' and i.temperature is not null"
        " and i.temperature is distinct from place.temperature",
    ),
    LineRule(
        "transfer.item",
        "{lines}: that is not under way in the transfer. Correct item, lot or transfer.",
        "l.kind = 'transfer_receipt' and t.case_id is not null and s.left is null",
    ),
    LineRule(
        "transfer.too_much",
        "{lines}: more arrives than is under way in the transfer. Count again; adjust what is too much.",
        "l.kind = 'transfer_receipt' and s.left < l.altogether",
    ),
)
"""In the order of weight: of a line of a feed the first that is broken counts."""

LINE_FAULTS = f"""
    with l as (
        select r.case_id, r.kind, r.feed, r.reference, coalesce(l.occurred_at, r.occurred_at) as at,
               case when r.kind = 'adjustment' then r.origin else r.destination end as place,
               l.line, l.item, l.quantity, l.lot, l.expires_on, l.unit_cost, l.counted, l.reason,
               count(*) over lot_of_case as same, sum(l.quantity) over lot_of_case as altogether
        from stock_requests r join stock_request_lines l using (case_id)
        where r.case_id = any(:ids) and (l.verdict is null or l.verdict = 'nothing')
        window lot_of_case as (partition by l.case_id, l.item, l.lot)
    )
    select l.case_id, l.feed, l.line, l.item, found.code
    from l left join stock_items i on i.code = l.item
    left join stock_lots o on o.item = l.item and o.lot = l.lot and l.lot <> ''
    left join stock_locations place on place.code = l.place
    left join stock_transfers t on l.kind = 'transfer_receipt' and t.number = l.reference
    left join lateral (
        select sum(shipped - received - lost) as left from stock_transfer_lines s
        where s.case_id = t.case_id and s.item = l.item and s.lot = l.lot) s on true
    cross join lateral unnest(array[l.reason, {
    ", ".join(f"case when {rule.broken} then '{rule.code}' end" for rule in LINE_RULES if rule.broken)
}]) as found(code)
    where found.code is not null"""

REQUESTS = """
    select r.case_id, r.source, r.kind, r.feed, r.requester, r.origin, r.destination, r.reason, r.reference,
           o.kind as origin_kind, o.active as origin_active, d.kind as destination_kind,
           d.active as destination_active, t.state as transfer_state, t.destination as transfer_destination
    from stock_requests r left join stock_locations o on o.code = r.origin
    left join stock_locations d on d.code = r.destination
    left join stock_transfers t on r.kind = 'transfer_receipt' and t.number = r.reference
    where r.case_id = any(:ids) order by r.case_id"""

OVERFULL = """
    with coming as (
        select r.case_id, d.code, d.capacity, sum(l.quantity * i.volume) as volume
        from stock_requests r join stock_locations d on d.code = r.destination and d.capacity is not null
        join stock_request_lines l using (case_id) join stock_items i on i.code = l.item
        where r.case_id = any(:ids) and l.quantity > 0 and l.verdict is null group by r.case_id, d.code
    )
    select c.case_id, c.code, c.capacity, c.volume, there.volume as there
    from coming c cross join lateral (
        select coalesce(sum(b.quantity * i.volume), 0) as volume from stock_balances b
        join stock_items i on i.code = b.item where b.location = c.code and b.real and b.quantity > 0) there
    where c.volume > 0 and c.volume + there.volume > c.capacity"""


def bound() -> dict[str, Any]:
    """Return the values that the SQL of the rules needs, beside the cases."""
    known = kinds().items()
    return {
        "takes": [name for name, kind in known if kind.takes and not kind.signed],
        "signed": [name for name, kind in known if kind.signed],
        "brings": [name for name, kind in known if kind.destination == "internal"],
        "fresh": [name for name, kind in known if not kind.expired],
        "zone": warehouse().zone.key,
    }


def column_of(code: str) -> str:
    """Return the name of the column that holds what breaks a rule."""
    return code.replace(".", "_")


def may_post(person: Person, location: str) -> bool:
    """Whether somebody is one of the users of a location; one that names no users is everybody's."""
    declared = warehouse().locations.get(location)
    if declared is None or not declared.users:
        return True
    mine = {f"person:{person.id}", f"department:{person.department}", *(f"role:{role}" for role in person.roles)}
    return not mine.isdisjoint(declared.users)


Row = Mapping[str, Any]
Rule = Callable[[Row], "str | None"]


def _requester(row: Row) -> Person | None:
    return people().by_id.get(row["requester"] or "")


def _nobody_asked(row: Row) -> bool:
    """What tills and other workflows report was decided elsewhere."""
    return bool(row["feed"]) or row["source"] in decided()


def _not_a_user(row: Row) -> str | None:
    person = _requester(row)
    if person is None or row["kind"] is None:
        return None
    location = row[kinds()[row["kind"]].site]
    return location if location and not may_post(person, location) else None


def _unfit(end: str, row: Row) -> str | None:
    if row["kind"] is None or row[f"{end}_kind"] is None:
        return None
    kind = kinds()[row["kind"]]
    wanted = kind.source if end == "origin" else kind.destination
    if end == "origin" and row["source"] == LOSS_SOURCE:
        wanted = "transit"
    return f"{row[end]} is {row[f'{end}_kind']}, and not {wanted}" if row[f"{end}_kind"] != wanted else None


def _elsewhere(row: Row) -> str | None:
    to = row["transfer_destination"]
    return to if to and row["destination"] and to != row["destination"] else None


class RequestRule(NamedTuple):
    """A rule of requests; `broken` returns what is wrong, for the message, or None."""

    column: str
    code: str
    message: str
    field: str
    broken: Rule


def _arrives(row: Row) -> bool:
    return bool(row["kind"] == "transfer_receipt")


def _missing(end: str, row: Row) -> str | None:
    return None if row[end] else {"origin": "begins", "destination": "ends"}[end]


def _unknown(end: str, row: Row) -> str | None:
    return row[end] if row[end] and row[f"{end}_kind"] is None else None


def _closed(end: str, row: Row) -> str | None:
    return row[end] if row[f"{end}_active"] is False else None


def _ends(end: str, field: str) -> Iterable[RequestRule]:
    def rule(name: str, message: str, broken: Callable[[str, Row], str | None]) -> RequestRule:
        column = f"{end}_{name}"
        return RequestRule(
            column, f"location.{name}", message.replace("{it}", f"{{{column}}}"), field, partial(broken, end)
        )

    yield rule("missing", "It is not said at which location it {it}. Write the code of one, such as MAIN.", _missing)
    yield rule("unknown", "There is no location “{it}”. Write one of warehouse.yaml.", _unknown)
    yield rule("closed", "The location {it} is not in use any more. Write another one.", _closed)
    yield rule("unfit", "A location does not suit this kind of request: {it}. Correct location or kind.", _unfit)


REQUEST_RULES = (
    RequestRule(
        "requester_missing",
        "requester.missing",
        "Nobody is named who asks for it. Write the id or the address of a person.",
        "requester",
        lambda row: None if row["requester"] or _nobody_asked(row) else "nobody",
    ),
    RequestRule(
        "requester_unknown",
        "requester.unknown",
        "“{requester_unknown}” is nobody who works here. Write the id or the address of the person who asks.",
        "requester",
        lambda row: row["requester"] if row["requester"] and _requester(row) is None else None,
    ),
    RequestRule(
        "requester_shared",
        "requester.shared",
        "“{requester_shared}” is an account of several people. Write the id of the person who asks.",
        "requester",
        lambda row: row["requester"] if (person := _requester(row)) and person.shared else None,
    ),
    RequestRule(
        "requester_left",
        "requester.left",
        "“{requester_left}” does not work here any more. Write the id of the person who now asks.",
        "requester",
        lambda row: row["requester"] if (person := _requester(row)) and not person.active else None,
    ),
    RequestRule(
        "requester_no_user",
        "requester.no_user",
        "The requester may not post at {requester_no_user}. Have one of its users ask, or make them one.",
        "requester",
        _not_a_user,
    ),
    *_ends("origin", "from"),
    *_ends("destination", "to"),
    RequestRule(
        "one_location",
        "location.same",
        "It would go from {one_location} to {one_location}. Correct one of the two.",
        "to",
        lambda row: row["origin"] if row["origin"] and row["origin"] == row["destination"] else None,
    ),
    RequestRule(
        "reason_missing",
        "reason.missing",
        "A request of the kind {reason_missing} says why. Ask the requester, and write it as reason.",
        "reason",
        lambda row: row["kind"] if row["kind"] and kinds()[row["kind"]].reason and not row["reason"] else None,
    ),
    RequestRule(
        "transfer_missing",
        "transfer.missing",
        "An arrival says of which transfer. Write the transfer's number, such as ST-12, as reference.",
        "reference",
        lambda row: "nothing" if _arrives(row) and not row["reference"] else None,
    ),
    RequestRule(
        "transfer_unknown",
        "transfer.unknown",
        "There is no transfer “{transfer_unknown}” that was shipped. Correct the reference.",
        "reference",
        lambda row: row["reference"] if _arrives(row) and row["transfer_state"] is None else None,
    ),
    RequestRule(
        "transfer_over",
        "transfer.over",
        "The transfer {transfer_over} is not under way any more. Correct the reference, or enter it as an adjustment.",
        "reference",
        lambda row: row["reference"] if row["transfer_state"] not in (None, "under way") else None,
    ),
    RequestRule(
        "transfer_elsewhere",
        "transfer.elsewhere",
        "The transfer goes to {transfer_elsewhere}. Correct the location; send it on by a transfer of its own.",
        "to",
        _elsewhere,
    ),
)


def observed(requests: pd.DataFrame, faults: Iterable[Row], overfull: Mapping[int, str]) -> pd.DataFrame:
    """Return the frame that the suite looks at: requests, and for each rule what breaks it, or None.

    :param requests: rows of `REQUESTS`.
    :param faults: rows of `LINE_FAULTS`, without those of feeds.
    :param overfull: case -> which location is too small for it, and by how much.
    """
    frame = requests.reset_index(drop=True)
    rows: list[dict[Any, Any]] = frame.to_dict("records")
    for rule in REQUEST_RULES:
        frame[rule.column] = pd.Series([rule.broken(row) for row in rows], dtype=object)
    of_rule: dict[str, dict[int, list[str]]] = {}
    for fault in faults:
        item = f" ({fault['item']})" if fault["item"] else ""
        of_rule.setdefault(fault["code"], {}).setdefault(fault["case_id"], []).append(f"{fault['line']}{item}")
    ids = frame["case_id"].tolist()
    for line_rule in LINE_RULES:
        broken = of_rule.get(line_rule.code, {})
        frame[column_of(line_rule.code)] = pd.Series([_named(broken.get(case_id)) for case_id in ids], dtype=object)
    frame["place_capacity"] = pd.Series([overfull.get(case_id) for case_id in ids], dtype=object)
    return frame


def _named(numbers: list[str] | None) -> str | None:
    if not numbers:
        return None
    several = "Line " if len(numbers) == 1 else "Lines "
    return several + ", ".join(numbers[:MOST_NAMED]) + (" and more" if numbers[MOST_NAMED:] else "")


def request_suite() -> ExpectationSuite:
    """Return the rules for single requests."""
    from great_expectations import ExpectationSuite  # noqa: PLC0415

    gxe: Any = import_module("great_expectations.expectations")

    def nothing(column: str, about: dict[str, Any]) -> Any:
        return gxe.ExpectColumnValuesToBeNull(column=column, severity="critical", meta=about)

    room = "It does not fit into the location: {place_capacity}. Choose another one, or make room."
    return ExpectationSuite(
        name="stock_requests",
        expectations=[
            *(nothing(rule.column, meta(rule.code, rule.message, rule.field)) for rule in REQUEST_RULES),
            *(
                nothing(name, meta(rule.code, rule.message.replace("{lines}", "{" + name + "}"), "lines"))
                for rule in LINE_RULES
                for name in [column_of(rule.code)]
            ),
            nothing("place_capacity", meta("place.capacity", room, "to")),
        ],
    )
