"""Open sheets: which are overdue and whose concern they are, and how a person closes one that is not needed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from sqlalchemy import Connection, Engine, text

from include.approvals.people import people
from include.cases import store
from include.data.business_time import add
from include.domain.stock_count.rules import counting, may_count
from include.stock.warehouse import warehouse


class DiscardRefused(ValueError):
    """The sheet stays open; the message says why."""


@dataclass(frozen=True)
class OverdueSheet:
    """A sheet that should have been counted.

    :param lines: that nobody has counted.
    :param told: whom it concerns: the manager of the location's keeper, else the keeper; None where there is neither.
    """

    case_id: int
    number: str
    location: str
    counter: str
    planned_for: date
    lines: int
    told: str | None


def overdue(connection: Connection, now: datetime) -> list[OverdueSheet]:
    """Return the sheets with lines that nobody counted in time, oldest first."""
    rows = connection.execute(
        text("""
            select p.case_id, p.number, p.location, p.counter, p.planned_for, count(*) as lines
            from count_progress p join cases c on c.id = p.case_id
            where p.state = 'open' and c.state not in ('finished', 'rejected')
            group by p.case_id, p.number, p.location, p.counter, p.planned_for
            order by p.planned_for, p.number""")
    )
    found = []
    for row in rows:
        location = warehouse().locations.get(row.location)
        keeper = location.keeper if location else None
        if due_at(row.planned_for, keeper) >= now:
            continue
        manager = people().next_in_line(keeper) if keeper else None
        told = manager.id if manager else keeper
        found.append(OverdueSheet(row.case_id, row.number, row.location, row.counter, row.planned_for, row.lines, told))
    return found


def due_at(planned_for: date, keeper: str | None) -> datetime:
    """Return until when a sheet can be counted in time: so many working days of the keeper's after the planned one."""
    person = people().by_id.get(keeper or "")
    if person is None:
        midnight = datetime.combine(planned_for, time(), warehouse().zone)
        return midnight + timedelta(days=1 + counting().overdue_after)
    calendar = person.calendar
    closing = datetime.combine(planned_for, time(), calendar.zone) + calendar.closes
    a_day = calendar.closes - calendar.opens
    return add(closing, counting().overdue_after * a_day, calendar)


def discard(engine: Engine, number: str, *, reason: str, account: str, actor: str, run: str = "") -> int:
    """Close a sheet that is not needed any more; what was counted on it stays, and the rest is due again.

    :param account: name of the Airflow account of whoever discards it.
    :returns: the sheet's case.
    :raises DiscardRefused: when there is no such sheet that waits, no reason, or they may not post at its location.
    """
    wanted = "".join(number.split())
    if not reason.strip():
        raise DiscardRefused("a sheet is discarded with a reason: say why it is not counted")
    with engine.connect() as connection:
        found = connection.execute(
            text("""
                select s.case_id, s.location, c.state from count_sheets s join cases c on c.id = s.case_id
                where number = :number"""),
            {"number": wanted},
        ).one_or_none()
    if found is None:
        raise DiscardRefused(f"there is no count sheet {wanted!r}; its number stands in the mail that it came with")
    location = warehouse().locations.get(found.location)
    if location and not may_count(people().by_airflow(None, account), location):
        raise DiscardRefused(f"{account} may not post at {found.location}; its keeper and its users discard its sheets")
    if not store.discard(engine, [found.case_id], reason=reason[:200], actor=actor, run=run):
        raise DiscardRefused(f"the count sheet {wanted} is {found.state}; only one that waits can be discarded")
    return int(found.case_id)
