"""Plans cycle counts: what is due at each location on a day, cut into sheets, each handed over as one count sheet.

A place is due when its last count is older than its item's class allows; a count that something back-dated overtook
does not count. What was never counted gets its turn within one interval, by its item's name, so that a new warehouse is
not due all at once. What stands on an open sheet is not planned again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice

from sqlalchemy import Connection, Engine, text

from include.approvals.people import People, people
from include.data.business_time import Calendar, add
from include.data.database import authored
from include.domain.stock_count.rules import Class, Counting, counters_at, counting
from include.intake.handoffs import Handoff, hand_over
from include.stock.counting import overtaken
from include.stock.warehouse import Warehouse, sync, warehouse

SOURCE = "count-sheet"
WORKFLOW = "stock_count"


@dataclass(frozen=True, slots=True)
class Place:
    """Stock that can be counted.

    :param last: when it was counted last, or None.
    """

    item: str
    lot: str
    abc: Class
    last: date | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """What one person counts at one location on one day; `number` says which, and is its identity."""

    number: int
    counter: str | None
    places: Sequence[Place]


@dataclass(frozen=True, slots=True)
class Planned:
    """What a day is for one location.

    :param sheets: that are new.
    :param left_over: places that are due as well, and more than the day takes.
    """

    sheets: int
    left_over: int


def plan_day(engine: Engine, day: date, run: str = "") -> dict[str, Planned]:
    """Hand over the sheets of a day, once: a location whose day was planned before is left as it is.

    :returns: what became of each location that was planned now.
    """
    known, rules, who = warehouse(), counting(), people()
    with authored(engine, actor="system:count_plan", run=run) as connection:
        connection.execute(text("select pg_advisory_xact_lock(hashtext('waybill.count_plan'))"))
        sync(connection)
        stock = _stock(connection, known, day)
        planned = {}
        for code in _open(connection, known, who, day):
            first = _first_day(connection, code) or day
            due = [place for place in stock.get(code, ()) if due_on(place, code, min(first, day), rules) <= day]
            due.sort(key=lambda place: (due_on(place, code, min(first, day), rules), place.abc, place.item, place.lot))
            counters = counters_at(code, known.locations[code], rules, who)
            cut = list(sheets(due, counters, day, rules))
            hand_over(connection, SOURCE, [_handoff(day, code, sheet, rules) for sheet in cut])
            left_over = len(due) - sum(len(sheet.places) for sheet in cut)
            connection.execute(
                text("""
                    insert into count_plans (day, location, sheets, left_over)
                    values (:day, :location, :sheets, :left_over)"""),
                {"day": day, "location": code, "sheets": len(cut), "left_over": left_over},
            )
            planned[code] = Planned(len(cut), left_over)
    return planned


def due_on(place: Place, location: str, first: date, rules: Counting) -> date:
    """Return the day from which a place is due.

    :param first: the first day that was planned at its location, from which those never counted take their turns.
    """
    every = rules.every_days[place.abc]
    if place.last is not None:
        return place.last + timedelta(days=every)
    turn = int.from_bytes(hashlib.sha256(f"{location}/{place.item}".encode()).digest()[:8], "big") % every
    return first + timedelta(days=turn)


def sheets(due: Sequence[Place], counters: Sequence[str], day: date, rules: Counting) -> Iterator[Sheet]:
    """Cut what is due, most urgent first, into the sheets that one day takes; counters take turns from day to day."""
    rest = iter(due)
    for number in range(1, rules.sheets_per_day + 1):
        lines = sorted(islice(rest, rules.lines_per_sheet), key=lambda place: (place.item, place.lot))
        if not lines:
            return
        counter = counters[(day.toordinal() + number) % len(counters)] if counters else None
        yield Sheet(number, counter, lines)


def _handoff(day: date, location: str, sheet: Sheet, rules: Counting) -> Handoff:
    document = {
        "number": f"CS-{day:%Y%m%d}-{location}-{sheet.number}",
        "location": location,
        "counter": sheet.counter,
        "planned_for": day.isoformat(),
        "blind": rules.blind,
        "lines": [{"item": place.item, "lot": place.lot, "class": place.abc} for place in sheet.places],
    }
    return Handoff(f"{day.isoformat()}/{location}/{sheet.number}", document)


def _open(connection: Connection, known: Warehouse, who: People, day: date) -> list[str]:
    """Return the internal locations that work on a day and were not planned for it yet."""
    planned = set(connection.execute(text("select location from count_plans where day = :day"), {"day": day}).scalars())
    found = []
    for code, location in known.locations.items():
        keeper = who.by_id.get(location.keeper or "")
        if location.kind == "internal" and code not in planned and (keeper is None or works(keeper.calendar, day)):
            found.append(code)
    return found


def works(calendar: Calendar, day: date) -> bool:
    """Whether people work on a day."""
    midnight = datetime.combine(day, time(), calendar.zone)
    return add(midnight, timedelta(), calendar).astimezone(calendar.zone).date() == day


def _first_day(connection: Connection, location: str) -> date | None:
    found: date | None = connection.execute(
        text("select min(day) from count_plans where location = :location"), {"location": location}
    ).scalar()
    return found


# A lot that was never counted itself goes with its item's others at the place.
_STOCK = """
    with counted as (
        select item, location, lot, max(counted_at) as last from stock_counts where settled_at is not null
        group by item, location, lot
    ), on_sheets as (
        select d.document ->> 'location' as location, l ->> 'item' as item, l ->> 'lot' as lot
        from (select convert_from(d.body, 'UTF8')::jsonb as document
              from cases c join deliveries d on d.id = c.delivery_id
              where c.workflow = :workflow and c.state not in ('finished', 'rejected')) d
        cross join lateral jsonb_array_elements(d.document -> 'lines') l
    )
    select b.location, b.item, b.lot, i.abc, coalesce(c.last, o.last) as last
    from stock_balances b join stock_items i on i.code = b.item
    left join counted c on c.item = b.item and c.location = b.location and c.lot = b.lot
    left join (select item, location, max(last) as last from counted group by item, location) o
           on o.item = b.item and o.location = b.location
    where b.real and b.quantity <> 0 and b.location = any(:locations)
      and not exists (select from on_sheets s where s.location = b.location and s.item = b.item and s.lot = b.lot)"""


def _stock(connection: Connection, known: Warehouse, day: date) -> dict[str, list[Place]]:
    """Return what lies at each internal location, without what stands on open sheets."""
    internal = [code for code, location in known.locations.items() if location.kind == "internal"]
    longest = timedelta(days=max(counting().every_days.values()))
    since = datetime.combine(day, time(), UTC) - longest
    untrue = {(each.location, each.item, each.lot) for each in overtaken(connection, since)}
    found: dict[str, list[Place]] = {}
    for row in connection.execute(text(_STOCK), {"workflow": WORKFLOW, "locations": internal}):
        last = row.last.astimezone(known.zone).date() if row.last else None
        if last and (row.location, row.item, row.lot) in untrue:
            last = date.min
        found.setdefault(row.location, []).append(Place(row.item, row.lot, row.abc, last))
    return found
