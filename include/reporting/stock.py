"""The report on the stock: what it is worth, how fast it turns, what was out of stock, and what was out of order.

Movements count when goods moved, however late they were told. Values are as valued by now: a movement that is dated
back changes those after it, and the report of that time when it is made again. What was out before the interval and
all through it is told as long as its item and its place are in use.
"""

from __future__ import annotations

from include.reporting.model import Column, Figure, Kind, Plot, Report, Sum

# From the last month that was closed before the interval on: what each item was worth, came in and went out.
_VALUES = """
    with closed as (
        select month, ends_at from stock_periods where ends_at <= :since order by ends_at desc limit 1
    ), each as (
        select item, value as before, 0 as came, 0 as went, 0 as variance
        from stock_period_values join closed using (month)
        union all
        select v.item, case when v.moved_at < :since then v.value + v.variance else 0 end,
               case when v.moved_at >= :since and v.value > 0 then v.value else 0 end,
               case when v.moved_at >= :since and v.value < 0 then -v.value else 0 end,
               case when v.moved_at >= :since then v.variance else 0 end
        from stock_values v
        where v.moved_at >= coalesce((select ends_at from closed), '-infinity') and v.moved_at < :until
    )
    select i.item_group, e.* from each e join stock_items i on i.code = e.item"""
_VALUE_COLUMNS = (
    Column("before", "Value at the beginning", Kind.MONEY, signed=True),
    Column("came", "Came in", Kind.MONEY),
    Column("went", "Went out", Kind.MONEY),
    Column("variance", "Put right", Kind.MONEY, signed=True),
    Column("after", "Value at the end", Kind.MONEY, signed=True),
    Column("turnover", "Turnover in a year", Kind.RATIO, optional=True, signed=True),
)
# Turnover: what goes out in a year at this pace, over the mean of the values at the beginning and at the end.
_VALUE_SUMS = """
    coalesce(sum(before), 0), coalesce(sum(came), 0), coalesce(sum(went), 0), coalesce(sum(variance), 0),
    coalesce(sum(before + came - went + variance), 0),
    sum(went) / nullif(sum(2 * before + came - went + variance) / 2, 0)
        * 365 / (cast(:end as date) - cast(:first as date))"""

# How much of an item was at a place from each moment on at which that changed, reckoned back from what is there now.
# What moves at one moment is one change. Where there was nothing left when the interval began, it begins with that.
_LEVELS = """
    with moved as materialized (
        select least(moved_at, cast(:until as timestamptz)) as at, item, source, destination, quantity
        from stock_movements where moved_at >= :since
    ), changed as (
        select m.item, m.location, m.at, sum(m.change) as change
        from (select item, source as location, at, -quantity as change from moved
              union all select item, destination, at, quantity from moved) m
        join stock_locations l on l.code = m.location and l.kind = 'internal'
        group by m.item, m.location, m.at
    ), opening as (
        select b.item, b.location, b.quantity - coalesce(c.change, 0) as opening
        from (select item, location, sum(quantity) as quantity from stock_balances where real
              group by item, location) b
        join stock_locations l on l.code = b.location and l.kind = 'internal'
        left join (select item, location, sum(change) as change from changed group by item, location) c
            using (item, location)
    ), within as (
        select item, location, at, sum(change) as change from (
            select item, location, at, change from changed where at < :until
            union all
            select o.item, o.location, :since, 0 from opening o
            where o.opening <= 0 and exists (
                select from stock_movements m
                where m.item = o.item and m.moved_at < :since and o.location in (m.source, m.destination))) each
        group by item, location, at
    ), levels as (
        select item, location, at, opening + sum(change) over places as quantity,
               opening + sum(change) over places - change as former,
               lead(at, 1, cast(:until as timestamptz)) over places as changes_at
        from within join opening using (item, location)
        window places as (partition by item, location order by at)
    ), outs as (
        select item, location, count(*) filter (where former > 0 and quantity <= 0) as times,
               sum(extract(epoch from changes_at - at)) filter (where quantity <= 0) as seconds,
               (array_agg(quantity order by at desc))[1] as quantity
        from levels group by item, location having min(quantity) <= 0
    ), told as (
        select o.* from outs o
        join stock_items i on i.code = o.item join stock_locations l on l.code = o.location
        where o.times > 0 or (i.active and l.active)
    )"""

# On a day without a page nobody looked, which is not the same as nothing.
_THINGS = """
    select case when count(*) > 0 then (
        select count(*) from (select distinct kind, subject from stock_exceptions
                              where day >= :first and day < :end) x) end
    from stock_exception_reports where day >= :first and day < :end"""
MOST_LISTED = 200
"""Rows of what was out of stock, those that ran out first; the totals count all of them."""

STOCK = Report(
    name="stock",
    title="Stock",
    figures=(
        Figure(
            "totals",
            "In short",
            (
                *_VALUE_COLUMNS,
                Column("ran_out", "Places that ran out"),
                Column("out_of_stock", "Places that were out of stock"),
                Column("exceptions", "Things out of order", optional=True),
            ),
            f"""
            select v.*, o.*, ({_THINGS})
            from (select {_VALUE_SUMS} from ({_VALUES}) each) v,
                 ({_LEVELS} select count(*) filter (where times > 0), count(*) from told) o""",
        ),
        Figure(
            "by_group",
            "Value and turnover by group of items",
            (Column("item_group", "Group", Kind.TEXT), *_VALUE_COLUMNS),
            f"select item_group, {_VALUE_SUMS} from ({_VALUES}) v group by item_group order by item_group",
            Plot("item_group", ("after",)),
        ),
        Figure(
            "by_day",
            "What came in and went out by day",
            (
                Column("day", "Day", Kind.DAY),
                Column("came", "Came in", Kind.MONEY),
                Column("went", "Went out", Kind.MONEY),
            ),
            """
            select day::date, coalesce(sum(value) filter (where value > 0), 0),
                   coalesce(-sum(value) filter (where value < 0), 0)
            from generate_series(cast(:first as timestamp), cast(:end as timestamp) - interval '1 day', '1 day') day
            left join stock_values v on v.moved_at >= :since and v.moved_at < :until
                 and (v.moved_at at time zone :zone)::date = day::date
            group by day order by day""",
            Plot("day", ("came", "went")),
        ),
        Figure(
            "ran_out",
            "What was out of stock",
            (
                Column("item", "Item", Kind.TEXT),
                Column("location", "Place", Kind.TEXT),
                Column("times", "Ran out, times"),
                Column("seconds", "Without any for", Kind.SECONDS),
                Column("quantity", "There at the end", Kind.QUANTITY, signed=True),
            ),
            f"""
            {_LEVELS}
            select item, location, times, seconds, quantity from told
            order by times > 0 desc, seconds desc, item, location limit {MOST_LISTED}""",
        ),
        Figure(
            "short",
            "Asked for, and not there",
            (
                Column("item", "Item", Kind.TEXT),
                Column("location", "Place", Kind.TEXT),
                Column("times", "Times"),
                Column("missing", "Missing", Kind.QUANTITY),
            ),
            f"""
            select l ->> 'item', coalesce(l ->> 'place', ''), count(*), sum((l ->> 'missing')::numeric)
            from events e, jsonb_array_elements(e.detail -> 'lines') l
            where e.workflow = 'stock_request' and e.kind = 'stock short' and e.at >= :since and e.at < :until
            group by 1, 2 order by 3 desc, 1, 2 limit {MOST_LISTED}""",
        ),
        Figure(
            "exceptions",
            "Out of order, as the daily page had it",
            (
                Column("kind", "What", Kind.TEXT),
                Column("things", "Different things"),
                Column("last_day", "On the last page"),
                Column("worth", "Worth on the last page", Kind.MONEY, signed=True),
            ),
            """
            select replace(kind, '_', ' '), count(distinct subject), count(*) filter (where x.day = last.day),
                   coalesce(sum(value) filter (where x.day = last.day), 0)
            from stock_exceptions x,
                 (select max(day) as day from stock_exception_reports where day >= :first and day < :end) last
            where x.day >= :first and x.day < :end group by kind order by 2 desc, 1""",
            Plot("kind", ("things",)),
        ),
    ),
    sums=(Sum("different things out of order", ("totals", "exceptions"), ("exceptions", "things")),),
    controls=f"""
        select 'value at the end, and what is kept less what moved since',
               round((select coalesce(sum(value), 0) from stock_valuations)
                     - (select coalesce(sum(value + variance), 0) from stock_values where moved_at >= :until), 2),
               round((select coalesce(sum(before + came - went + variance), 0) from ({_VALUES}) v), 2)""",
    # The step `value` comes after the ERP was told, which may be away.
    waits="select 'movements that are not valued yet', count(*) from stock_unvalued where since < :until",
)
