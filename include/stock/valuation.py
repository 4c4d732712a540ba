"""What the stock is worth: values of movements, derived from them some time after they are posted.

Who posts never waits for this: posting leaves a row in `stock_unvalued`, and `value` works these rows off item by item,
each held by its row of `stock_valuations`. A movement is worth something where it crosses the border between the
company's places and the others; per item over all places, in the order of `moved_at`, then of posting. What is dated
before something that is valued already is put in its place, and what follows is valued again from the last checkpoint;
each value that thereby changes is noted in `stock_revaluations`. Arithmetic is costing.py's part, months periods.py's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby
from operator import attrgetter
from typing import Any, Literal, NamedTuple, TypeVar

import orjson
from psycopg.rows import namedtuple_row
from sqlalchemy import Connection, Row, text

from include.data.database import driver
from include.data.frames import copy_rows
from include.stock.costing import MOVING_AVERAGE, Costing, Move, State, Worth
from include.stock.warehouse import warehouse

T = TypeVar("T")
ITEMS_AT_ONCE = 500
MOVEMENTS_AT_ONCE = 20_000
"""What is in memory at once, with the layers of the items at work."""
CHECKPOINT_EVERY = 1_000
"""Movements of an item between two checkpoints, or as many as it has layers: what a late one costs at most."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What a valuation did: items looked at, movements valued for the first time, and those whose value changed."""

    items: int = 0
    valued: int = 0
    revalued: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.items + other.items, self.valued + other.valued, self.revalued + other.revalued)


@dataclass(frozen=True, slots=True)
class Holding:
    """What an item at a place is worth; the places' values of an item sum to the item's value, to the cent."""

    item: str
    title: str
    group: str
    location: str
    quantity: Decimal
    value: Decimal


class Begin(NamedTuple):
    """Where an item's valuation sets in: a state that was kept, and the movement after which it held."""

    item: str
    method: str
    standard_cost: Decimal | None
    upto_at: datetime | None
    upto_id: int | None
    state: State
    because: int


@dataclass(slots=True)
class Reached:
    """How far an item's valuation came."""

    begin: Begin
    costing: Costing
    upto_at: datetime | None = None
    upto_id: int | None = None
    kept: int = 0
    """Movements since the last checkpoint."""

    def row(self) -> dict[str, Any]:
        """Return it as the tables keep it."""
        state = self.costing.state
        return {
            "item": self.begin.item,
            "upto_at": self.upto_at,
            "upto_id": self.upto_id,
            "method": self.begin.method,
            "quantity": state.quantity,
            "value": state.value,
            "known_cost": state.known_cost,
            "layers": orjson.dumps([[id_, str(left), str(worth)] for id_, left, worth in state.layers]).decode(),
            "unit_cost": self.costing.next_cost,
        }


def unit_costs(connection: Connection, items: Iterable[str]) -> dict[str, Decimal]:
    """Return what the next piece of each item costs, as far as it is valued, else its standard cost, else nothing."""
    rows = connection.execute(_UNIT_COSTS, {"items": sorted(set(items))})
    return {row.code: row.cost for row in rows}


def value(connection: Connection, items: Iterable[str] | None = None, *, skip_busy: bool = False) -> Tally:
    """Value what was posted and is not valued yet; a crash leaves it to be valued the next time.

    Holds the items until the transaction ends, in one order for everybody: call it once in a transaction, after
    whatever is posted in it.

    :param items: only these; all that wait otherwise.
    :param skip_busy: leave the items that somebody else is valuing at this moment, instead of waiting for them.
    """
    wanted = sorted(set(items)) if items is not None else None
    waiting = connection.execute(_WAITING, {"items": wanted}).scalars().all()
    tally = Tally()
    for chunk in _chunks(waiting, ITEMS_AT_ONCE):
        tally += _value_items(connection, chunk, skip_busy=skip_busy)
    return tally


def stock_value(connection: Connection, on: date | None = None) -> list[Holding]:
    """Return what is where and what it is worth, as far as it is valued; sum by item, `group` or `location`.

    :param on: at the end of this day in the company's zone; by default now.
    """
    if on is None:
        rows = connection.execute(_VALUE_NOW)
    else:
        end = datetime.combine(on + timedelta(days=1), time(), warehouse().zone)
        rows = connection.execute(_VALUE_THEN, {"moment": end})
    return [Holding(*row) for row in rows]


def totals(holdings: Iterable[Holding], by: Literal["item", "group", "location"]) -> dict[str, Decimal]:
    """Sum values by item, group or location."""
    sums: dict[str, Decimal] = {}
    for holding in holdings:
        name = getattr(holding, by)
        sums[name] = sums.get(name, Decimal(0)) + holding.value
    return sums


def keep_closing_states(connection: Connection, month: date, ends_at: datetime) -> None:
    """Keep how each item stood at a month's end, and drop the checkpoints before it; everything must be valued."""
    connection.execute(_KEEP_UNMOVED, {"month": month, "ends_at": ends_at})
    moved_since = connection.execute(_MOVED_SINCE, {"ends_at": ends_at}).scalars().all()
    for chunk in _chunks(moved_since, ITEMS_AT_ONCE):
        begins = _begins(connection.execute(_BEGIN_BEFORE, {"items": chunk, "ends_at": ends_at}))
        reached = {
            item: Reached(begin, _costing(begin), begin.upto_at, begin.upto_id) for item, begin in begins.items()
        }
        for block in _movements(connection, begins.values(), until=ends_at):
            for item, rows in groupby(block, attrgetter("item")):
                _go_on(reached[item], list(rows))
        states = [each.row() for each in reached.values() if each.upto_id is not None]
        _keep(connection, _ADD_CLOSING_STATES.bindparams(month=month), states)
    connection.execute(_DROP_CLOSED_CHECKPOINTS, {"ends_at": ends_at})


def _value_items(connection: Connection, items: Sequence[str], *, skip_busy: bool) -> Tally:
    held = connection.execute(_HOLD_FREE if skip_busy else _HOLD, {"items": items}).scalars().all()
    since = {row.item: row.since for row in connection.execute(_TAKE, {"items": held})}
    if not since:
        return Tally()
    methods = {name: group.valuation for name, group in warehouse().groups.items()}
    begins = _begins(
        connection.execute(
            _BEGIN,
            {
                "items": list(since),
                "since": list(since.values()),
                "groups": list(methods),
                "methods": list(methods.values()),
                "otherwise": MOVING_AVERAGE,
            },
        )
    )
    if not begins:
        return Tally()
    places = [(begin.item, begin.upto_at, begin.upto_id) for begin in begins.values()]
    connection.execute(_DROP_CHECKPOINTS, _columns(("items", "at", "ids"), places))
    tally = Tally(items=len(begins))
    reached = {name: Reached(begin, _costing(begin)) for name, begin in begins.items()}
    for block in _movements(connection, begins.values()):
        checkpoints: list[dict[str, Any]] = []
        new: list[tuple[Any, ...]] = []
        changed: list[tuple[Any, ...]] = []
        for item, group in groupby(block, attrgetter("item")):
            here = reached[item]
            for rows in _chunks(list(group), CHECKPOINT_EVERY):
                for row, worth in zip(rows, _go_on(here, rows), strict=True):
                    if row.value is None:
                        new.append((row.id, item, row.moved_at, *worth))
                    elif (row.worth, row.value, row.variance, row.uncosted) != worth:
                        changed.append((row.id, here.begin.because, *worth))
                if here.kept >= max(CHECKPOINT_EVERY, here.costing.depth):
                    here.kept = 0
                    checkpoints.append(here.row())
        _write(connection, new, changed)
        _keep(connection, _ADD_CHECKPOINTS, checkpoints)
        tally += Tally(valued=len(new), revalued=len(changed))
    _keep(connection, _KEEP_STATES, [each.row() for each in reached.values()])
    return tally


def _costing(begin: Begin) -> Costing:
    return Costing(begin.method, begin.state, begin.standard_cost)


def _begins(rows: Iterable[Row[Any]]) -> dict[str, Begin]:
    begins = {}
    for row in rows:
        state = State()
        if row.upto_id is not None:
            layers = tuple((id_, Decimal(left), Decimal(worth)) for id_, left, worth in row.layers)
            state = State(row.quantity, row.value, row.known_cost, layers)
        begins[row.item] = Begin(row.item, row.wanted, row.standard_cost, row.upto_at, row.upto_id, state, row.because)
    return begins


def _movements(
    connection: Connection, begins: Iterable[Begin], *, until: datetime | None = None
) -> Iterator[list[Any]]:
    """Stream the movements over the border after where each item's valuation begins, in order, in blocks."""
    places = [(begin.item, begin.upto_at, begin.upto_id) for begin in begins]
    if not places:
        return
    with (
        driver(connection) as direct,
        direct.cursor("stock_movements_to_value", row_factory=namedtuple_row) as cursor,
    ):
        cursor.execute(_MOVEMENTS, {**_columns(("items", "at", "ids"), places), "until": until})
        while block := cursor.fetchmany(MOVEMENTS_AT_ONCE):
            yield block


def _go_on(here: Reached, rows: Sequence[Any]) -> list[Worth]:
    worths = here.costing.apply(
        Move(row.id, row.quantity, row.unit_cost, row.bought, row.reverses, row.reversed_value, row.taken_back)
        for row in rows
    )
    here.upto_at, here.upto_id = rows[-1].moved_at, rows[-1].id
    here.kept += len(rows)
    return worths


def _write(connection: Connection, new: Sequence[tuple[Any, ...]], changed: Sequence[tuple[Any, ...]]) -> None:
    if new:
        copy_rows(connection, "stock_values", _VALUES, new)
    if changed:
        names = ("ids", "because", "unit_costs", "values", "variances", "uncosted")
        connection.execute(_CHANGE, _columns(names, changed))


def _keep(connection: Connection, statement: Any, rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        connection.execute(statement, {name: [row[name] for row in rows] for name in rows[0]})


def _columns(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> dict[str, list[Any]]:
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def _chunks(values: Sequence[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(values), size):
        yield list(values[start : start + size])


_STATE = "upto_at, upto_id, method, quantity, value, known_cost, layers"
_SENT_STATES = """
    unnest(cast(:item as text[]), cast(:upto_at as timestamptz[]), cast(:upto_id as bigint[]), cast(:method as text[]),
           cast(:quantity as numeric[]), cast(:value as numeric[]), cast(:known_cost as numeric[]),
           cast(:layers as jsonb[]), cast(:unit_cost as numeric[]))
    as s(item, upto_at, upto_id, method, quantity, value, known_cost, layers, unit_cost)"""

_UNIT_COSTS = text("""
    select i.code, coalesce(v.unit_cost, i.standard_cost) as cost
    from stock_items i left join stock_valuations v on v.item = i.code
    where i.code = any(:items) and coalesce(v.unit_cost, i.standard_cost) is not null""")

_WAITING = text("""
    select distinct item from stock_unvalued
    where cast(:items as text[]) is null or item = any(cast(:items as text[])) order by item""")
_HOLD = text("select item from stock_valuations where item = any(:items) order by item for no key update")
_HOLD_FREE = text(f"{_HOLD.text} skip locked")
_TAKE = text("""
    with taken as (delete from stock_unvalued where item = any(:items) returning item, since)
    select item, min(since) as since from taken group by item order by item""")

# the last state before a place: the item's own, a checkpoint, or a closed month's, which serves either method
_LAST_STATE = f"""
    left join lateral (
        select * from (
            (select {_STATE} from stock_valuations v
             where v.item = f.item and v.method = f.wanted and (v.upto_at, v.upto_id) < (f.moved_at, f.because))
            union all
            (select {_STATE} from stock_checkpoints c
             where c.item = f.item and c.method = f.wanted and (c.upto_at, c.upto_id) < (f.moved_at, f.because)
             order by upto_at desc, upto_id desc limit 1)
            union all
            (select {_STATE} from stock_period_values p
             where p.item = f.item and (p.upto_at, p.upto_id) < (f.moved_at, f.because)
             order by month desc limit 1)) k
        order by upto_at desc, upto_id desc limit 1) s on true"""

_BEGIN = text(f"""
    select f.*, s.* from (
        select q.item, coalesce(g.method, :otherwise) as wanted, i.standard_cost, m.moved_at, m.id as because
        from unnest(cast(:items as text[]), cast(:since as timestamptz[])) as q(item, since)
        join stock_items i on i.code = q.item
        left join unnest(cast(:groups as text[]), cast(:methods as text[])) as g(item_group, method) using (item_group)
        cross join lateral (
            select m.id, m.moved_at from stock_movements m
            join stock_locations a on a.code = m.source join stock_locations b on b.code = m.destination
            where m.item = q.item and m.moved_at >= q.since and a.real <> b.real
              and not exists (select from stock_values v where v.movement_id = m.id)
            order by m.moved_at, m.id limit 1) m) f
    {_LAST_STATE}""")

_KEEP_UNMOVED = text(f"""
    insert into stock_period_values (month, item, {_STATE}, unit_cost)
    select :month, item, {_STATE}, unit_cost from stock_valuations where upto_at < :ends_at""")
_MOVED_SINCE = text("select item from stock_valuations where upto_at >= :ends_at order by item")
_ADD_CLOSING_STATES = text(f"""
    insert into stock_period_values (month, item, {_STATE}, unit_cost)
    select cast(:month as date), s.* from {_SENT_STATES}""")
_DROP_CLOSED_CHECKPOINTS = text("delete from stock_checkpoints where upto_at < :ends_at")
_BEGIN_BEFORE = text(f"""
    select f.*, s.* from (
        select v.item, v.method as wanted, i.standard_cost, cast(:ends_at as timestamptz) as moved_at,
               cast(0 as bigint) as because
        from stock_valuations v join stock_items i on i.code = v.item where v.item = any(:items)) f
    {_LAST_STATE}""")

_DROP_CHECKPOINTS = text("""
    delete from stock_checkpoints c
    using unnest(cast(:items as text[]), cast(:at as timestamptz[]), cast(:ids as bigint[]))
        as s(item, upto_at, upto_id)
    where c.item = s.item and (s.upto_id is null or (c.upto_at, c.upto_id) > (s.upto_at, s.upto_id))""")
_ADD_CHECKPOINTS = text(f"""
    insert into stock_checkpoints (item, {_STATE}) select item, {_STATE} from {_SENT_STATES}""")
_KEEP_STATES = text(f"""
    update stock_valuations v
    set ({_STATE}, unit_cost, valued_at) = (select {", ".join(f"s.{name}" for name in _STATE.split(", "))},
                                            s.unit_cost, now())
    from {_SENT_STATES} where v.item = s.item""")

# psycopg's own placeholders: this one is streamed
_MOVEMENTS = """
    select m.item, m.id, m.moved_at, case when b.real then m.quantity else -m.quantity end as quantity, m.unit_cost,
           a.kind = 'supplier' as bought, m.reverses, w.value as reversed_value, t.id is not null as taken_back,
           v.unit_cost as worth, v.value, v.variance, v.uncosted
    from unnest(%(items)s::text[], %(at)s::timestamptz[], %(ids)s::bigint[]) as s(item, upto_at, upto_id)
    join stock_movements m on m.item = s.item
        and (m.moved_at, m.id) > (coalesce(s.upto_at, '-infinity'), coalesce(s.upto_id, 0))
    join stock_locations a on a.code = m.source join stock_locations b on b.code = m.destination
    left join stock_movements r on r.id = m.reverses and r.item = m.item
        and (r.moved_at, r.id) <= (s.upto_at, s.upto_id)
    left join stock_values w on w.movement_id = r.id
    left join stock_movements t on t.reverses = m.id
    left join stock_values v on v.movement_id = m.id
    where a.real <> b.real and m.moved_at < coalesce(%(until)s::timestamptz, 'infinity')
    order by m.item, m.moved_at, m.id"""
_VALUES = ("movement_id", "item", "moved_at", "unit_cost", "value", "variance", "uncosted")
_CHANGE = text("""
    with changed as (
        select * from unnest(cast(:ids as bigint[]), cast(:because as bigint[]), cast(:unit_costs as numeric[]),
                             cast(:values as numeric[]), cast(:variances as numeric[]), cast(:uncosted as boolean[]))
            as c(movement_id, because, unit_cost, value, variance, uncosted)
    ), noted as (
        insert into stock_revaluations
            (movement_id, value_before, value_after, variance_before, variance_after, because)
        select movement_id, v.value, c.value, v.variance, c.variance, c.because
        from changed c join stock_values v using (movement_id)
        where (v.value, v.variance) <> (c.value, c.variance)
    )
    update stock_values v set unit_cost = c.unit_cost, value = c.value, variance = c.variance, uncosted = c.uncosted
    from changed c where v.movement_id = c.movement_id""")

# an item's value over its places: each takes the difference of two rounded sums, so that the places sum to the whole
_SPREAD = """
    select item, title, item_group, location, quantity,
           round(coalesce(value * upto / nullif(whole, 0), unit_cost * upto, 0), 2)
           - round(coalesce(value * (upto - quantity) / nullif(whole, 0), unit_cost * (upto - quantity), 0), 2) as value
    from (
        select t.item, i.title, i.item_group, t.location, t.quantity, w.value, w.unit_cost,
               sum(t.quantity) over (partition by t.item) as whole,
               sum(t.quantity) over (partition by t.item order by t.location) as upto
        from there t join stock_items i on i.code = t.item left join worth w on w.item = t.item
        where t.quantity <> 0) each
    order by item, location"""
_VALUE_NOW = text(f"""
    with worth as (
        select item, value, unit_cost from stock_valuations
    ), there as (
        select item, location, sum(quantity) as quantity from stock_balances where real group by item, location
    )
    {_SPREAD}""")
_VALUE_THEN = text(f"""
    with closed as (
        select month, ends_at from stock_periods where ends_at <= :moment order by ends_at desc limit 1
    ), moved as (
        select * from stock_movements
        where moved_at >= coalesce((select ends_at from closed), '-infinity') and moved_at < :moment
    ), worth as (
        select item, sum(value) as value, max(unit_cost) as unit_cost from (
            select item, value, unit_cost from stock_period_values join closed using (month)
            union all
            select v.item, v.value + v.variance, v.unit_cost from moved m join stock_values v on v.movement_id = m.id) e
        group by item
    ), there as (
        select item, location, sum(quantity) as quantity from (
            select item, location, quantity from stock_period_balances join closed using (month)
            union all select item, source, -quantity from moved
            union all select item, destination, quantity from moved) e
        join stock_locations l on l.code = e.location where l.real
        group by item, location
    )
    {_SPREAD}""")
