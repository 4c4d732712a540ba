"""The steps `book` and `hand_over`: what was decided is put right, in the ERP by an effect, here by an adjustment.

Just before that, both sides are looked at once more: a decision about a difference that is another one by now is void.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, Row, text

from include.approvals.people import people
from include.cases.model import StepResult, Work
from include.domain.stock_difference.books import load_lines, look, without_accepted, write_lines
from include.domain.stock_difference.comparison import Comparison, Line, Spot
from include.domain.stock_difference.decide import keeper, undecide
from include.domain.stock_difference.find import MANY, open_spots, rest
from include.intake.handoffs import Handoff, hand_over
from include.integrations.systems import Effect, Json, Provider
from include.stock.warehouse import virtual, warehouse

BOOKING = "stock-difference-booking"
"""The source of the adjustments; the ERP has these quantities already, so they are not mirrored."""
OUTCOMES = {"erp": "booked in the ERP", "waybill": "booked in the stock", "accept": "accepted"}

_DECIDED = text("""
    select d.case_id, d.scope, d.decision, d.decisions, d.reason, d.decided_by, d.found_on,
           exists (select from effects e where e.case_id = d.case_id and e.operation = 'move_stock') as planned,
           (select count(*) from cases c where c.parent_id = d.case_id and c.workflow = 'stock_request'
               and starts_with(c.key, :source || '/id:' || d.case_id || '/' || d.decisions || '/')) as asked
    from stock_differences d where d.case_id = any(:ids) and d.decision is not null order by d.case_id""")
_CHILDREN = text("""
    select parent_id, count(*) filter (where state = 'rejected') as rejected,
           count(*) filter (where state not in ('finished', 'rejected')) as open
    from cases where parent_id = any(:ids) and workflow = 'stock_request'
      and starts_with(key, :source || '/id:' || parent_id || '/' || (
          select decisions from stock_differences where case_id = parent_id) || '/')
    group by parent_id""")
_ITEMS = text("select code, title, base_unit, tracking from stock_items where code = any(:codes)")


def plan_book(work: Work, erp: Provider) -> list[Effect]:
    """Plan what is booked in the ERP, and void decisions about what is not there any more."""
    decided = _decided(work.connection, work.case_ids)
    fresh = [row for row in decided if not (row.planned or row.asked)]
    lines = load_lines(work.connection, [row.case_id for row in decided])
    if fresh:
        _look_once_more(work.connection, fresh, lines, look(work.connection, erp))
    still = _decided(work.connection, [row.case_id for row in decided if row.decision == "erp"])
    items = _items(work.connection, (line for row in still for line in lines[row.case_id]))
    return [
        Effect.of(
            work, system="erp", operation="move_stock", case_id=row.case_id, target=_key(row),
            payload=_movement(row, lines[row.case_id], items),
        )
        for row in still
    ]  # fmt: skip


def hand_over_adjustments(work: Work) -> StepResult:
    """Ask for adjustments where the stock is wrong, and wait for what becomes of them."""
    connection = work.connection
    decided = {row.case_id: row for row in _decided(connection, work.case_ids)}
    result = StepResult(send_back=dict.fromkeys((one for one in work.case_ids if one not in decided), "decide"))
    ours = [row for row in decided.values() if row.decision == "waybill"]
    lines = load_lines(connection, [row.case_id for row in ours])
    if handoffs := [one for row in ours if not row.asked for one in _adjustments(row, lines[row.case_id])]:
        hand_over(connection, BOOKING, handoffs)
    rows = connection.execute(_CHILDREN, {"ids": [row.case_id for row in ours], "source": BOOKING})
    children = {row.parent_id: row for row in rows}
    rejected = {case_id: "the adjustment was not made" for case_id, row in children.items() if row.rejected}
    undecide(connection, {case_id: why for case_id, why in rejected.items() if not children[case_id].open})
    for case_id, row in children.items():
        if row.open:
            result.wait[case_id] = keeper(lines[case_id])
        elif row.rejected:
            result.send_back[case_id] = "decide"
    return result


def log(work: Work) -> StepResult:
    """Close each case with what was decided."""
    decided = _decided(work.connection, work.case_ids)
    return StepResult(close={row.case_id: OUTCOMES[row.decision] for row in decided})


def _decided(connection: Connection, case_ids: Sequence[int]) -> Sequence[Row[Any]]:
    return connection.execute(_DECIDED, {"ids": list(case_ids), "source": BOOKING}).all()


def _look_once_more(
    connection: Connection, rows: Sequence[Row[Any]], lines: dict[int, list[Line]], found: Comparison
) -> None:
    differing = without_accepted(connection, found.lines)
    void: dict[int, str] = {}
    for row in rows:
        now = _now(connection, row, lines[row.case_id], found, differing)
        if now is None:
            void[row.case_id] = "something moves there at this moment"
        elif now != lines[row.case_id]:
            void[row.case_id] = "the difference is another one by now"
            lines[row.case_id] = now
    undecide(connection, void)
    write_lines(connection, {case_id: lines[case_id] for case_id in void})


def _now(
    connection: Connection,
    row: Row[Any],
    lines: Sequence[Line],
    found: Comparison,
    differing: Mapping[Spot, list[Line]],
) -> list[Line] | None:
    if row.scope == MANY:
        return rest(differing, open_spots(connection))
    if lines[0].spot in found.moving:
        return None
    return differing.get(lines[0].spot, [])


def _key(row: Row[Any]) -> str:
    return f"SD-{row.case_id}-{row.decisions}"


def _movement(row: Row[Any], lines: Sequence[Line], items: Mapping[str, Row[Any]]) -> Json:
    """Return the movement that makes the ERP's stock what it is here."""
    outside = {"code": virtual("adjustment"), "kind": "adjustment"}
    places = warehouse().locations
    moves = []
    for line in lines:
        place = {"code": line.location, "kind": places[line.location].kind}
        more = line.difference < 0  # the ERP has less: it comes there
        moves.append(
            {
                "item": line.item,
                "title": items[line.item].title,
                "unit": items[line.item].base_unit,
                "tracking": items[line.item].tracking,
                "lot": line.lot,
                "from": outside if more else place,
                "to": place if more else outside,
                "quantity": _n(abs(line.difference)),
                "unit_cost": None,
            }
        )
    return {
        "key": _key(row),
        "kind": "adjustment",
        "moved_on": warehouse().day_of(datetime.now(UTC)).isoformat(),
        "reference": f"difference {row.case_id}",
        "lines": moves,
    }


def _adjustments(row: Row[Any], lines: Sequence[Line]) -> list[Handoff]:
    """Return an adjustment for each location, by which the stock becomes what the ERP says."""
    by_location: dict[str, list[Line]] = {}
    for line in lines:
        by_location.setdefault(line.location, []).append(line)
    account = (row.decided_by or "").removeprefix("user:")
    person = people().by_airflow(None, account)
    return [
        Handoff(
            f"{row.case_id}/{row.decisions}/{location}",
            {
                "kind": "adjustment",
                "requester": person.id if person else keeper(some),
                "entered_by": account,
                "from": location,
                "reason": f"The ERP is right: {row.reason}",
                "reference": f"difference {row.case_id}",
                "lines": [
                    {"item": line.item, "lot": line.lot or None, "quantity": _n(line.difference)} for line in some
                ],
            },
            row.case_id,
        )
        for location, some in by_location.items()
    ]


def _items(connection: Connection, lines: Any) -> dict[str, Row[Any]]:
    codes = sorted({line.item for line in lines})
    return {row.code: row for row in connection.execute(_ITEMS, {"codes": codes})}


def _n(quantity: Decimal) -> str:
    return f"{quantity.normalize():f}"
