"""What is known of every place that has a rule: its demand and lead time from history, and its stock as it stands.

History is what moved before an instant. The stock, and what is expected of orders, is always that of now: a past day
that is planned again asks what its history says of the stock that there is, so that nothing is asked for twice.

One statement over all places, so that no goods are between two looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from psycopg.types.json import Jsonb
from sqlalchemy import Connection

from include.data.frames import read_frame
from include.domain.purchasing import EXPECTED_LINES, RECEIVED_LINES, purchasing
from include.domain.replenishment import formulas
from include.stock.warehouse import warehouse

WINDOW_DAYS = 180
LEAST_DAYS = 14
"""A mean is taken over at least so many days, so that the first day of a new item is not every day's demand."""
LEAD_TIMES_SINCE = timedelta(days=730)
LEAST_LEAD_TIMES = 3
"""With fewer, history says nothing of a lead time."""
ASSUMED_LEAD_TIME = 14.0
"""Days; where neither the rule nor history says one."""
USED = ("customer", "consumption", "transit", "internal")
"""Kinds of location to which an outflow is demand; scrap, adjustments and what goes back to a supplier are none."""
REFUSED = ("refused", "discarded")
"""Outcomes of a need after which it is not asked again for a while."""

_RULES = """
    rules as materialized (
        select r.*, l.negative, i.title, i.base_unit, i.decimals
        from replenishment_rules r
        join stock_items i on i.code = r.item and i.active
        join stock_locations l on l.code = r.location and l.active
        where r.method <> 'off' and (cast(:item as text) is null or r.item = :item)
          and (cast(:location as text) is null or r.location = :location)
    )"""

# A day that ended with nothing there and was followed by days without a movement: on those nobody could take anything.
_DEMAND = """
    reversed as materialized (select reverses as id from stock_movements where reverses is not null),
    moved as (
        select m.item, m.source as location, m.moved_at, -m.quantity as change,
               case when d.kind = any(:used) and m.reverses is null and m.moved_at < :until
                     and m.id not in (select id from reversed) then m.quantity::float8 else 0 end as demand
        from stock_movements m join stock_locations d on d.code = m.destination
        where m.moved_at >= :since and (cast(:item as text) is null or m.item = :item)
        union all
        select m.item, m.destination, m.moved_at, m.quantity, 0
        from stock_movements m
        where m.moved_at >= :since and (cast(:item as text) is null or m.item = :item)
    ), days as (
        select item, location, (m.moved_at at time zone :zone)::date as day,
               sum(change) as change, sum(demand) as demand
        from moved m join rules using (item, location) group by item, location, day
    ), stock as materialized (
        select b.item, b.location, sum(b.quantity) as quantity, sum(b.reserved) as reserved,
               coalesce(sum(b.quantity) filter (where x.expires_on < :today), 0) as expired
        from rules join stock_balances b using (item, location)
        left join stock_lots x on x.item = b.item and x.lot = b.lot
        group by b.item, b.location
    ), closings as (
        select d.item, d.location, d.day, d.demand, r.negative,
               coalesce(s.quantity, 0) - sum(d.change) over (w rows between unbounded preceding and unbounded following)
                   + sum(d.change) over w as closing, d.change,
               lag(d.day) over w as before, least(lead(d.day) over w, :last) as after
        from days d join rules r using (item, location) left join stock s using (item, location)
        window w as (partition by d.item, d.location order by d.day)
    ), demand as (
        select item, location, sum(demand) as total, sum(demand * demand) as squares,
               sum(case when closing <= 0 and not negative and day < :last
                        then greatest(coalesce(after, :last) - day - 1, 0) else 0 end
                   + case when before is null and closing <= change and (closing = change or not negative)
                          then least(day, :last) - :first else 0 end) as days_out
        from closings group by item, location
    )"""

_LEAD_TIMES = """
    places as (select * from jsonb_to_recordset(:places) as v(category text, location text)),
    arrivals as (
        select n.item, n.location, extract(epoch from n.arrived_at - n.opened_at)::float8 / 86400 as days
        from replenishment_needs n
        where n.arrived_at < :until and n.opened_at >= :lead_times_since
          and (cast(:item as text) is null or n.item = :item)
        union all
        select trim(l.item), p.location,
               (max(r.received_on) - (min(c.created_at) at time zone :zone)::date)::float8
        from purchase_orders o join cases c on c.id = o.case_id and c.parent_id is null
        join places p on p.category = o.category
        join purchase_order_lines l on l.order_id = o.case_id
        join goods_receipts r on r.order_id = o.case_id and r.kind = 'delivery' and r.recorded_at < :until
        join goods_receipt_lines g on g.case_id = r.case_id and g.order_line = l.line and g.accepted > 0
        where c.created_at >= :lead_times_since and (cast(:item as text) is null or trim(l.item) = :item)
        group by o.case_id, trim(l.item), p.location
    ), lead_times as (
        select item, location, count(*) as times, avg(greatest(days, 0)) as mean, stddev_samp(greatest(days, 0)) as sd
        from arrivals group by item, location
    )"""

# `factor` says how many base units one unit of a purchase is: the item's own unit, or one that always is the same part.
_COMING = f"""
    units as (select * from jsonb_to_recordset(:units) as v(unit text, base text, factor numeric)),
    purchased as (
        select e.item, p.location, sum(e.quantity * coalesce(own.numerator::numeric / own.denominator, u.factor, 1))
               filter (where e.ordered) as ordered,
               sum(e.quantity * coalesce(own.numerator::numeric / own.denominator, u.factor, 1))
               filter (where not e.ordered) as received
        from (
            select category, item, unit, quantity, true as ordered from ({EXPECTED_LINES}) x
            union all
            select x.category, x.item, x.unit, x.quantity, false from ({RECEIVED_LINES}) x
            join cases c on c.parent_id = x.case_id and c.workflow = 'stock_request'
                        and c.state not in ('finished', 'rejected')
            left join stock_requests s on s.case_id = c.id where s.posted_at is null
        ) e
        join places p on p.category = e.category
        join rules r on r.item = e.item and r.location = p.location
        left join stock_units own on own.item = e.item and own.unit = e.unit
        left join units u on u.unit = e.unit and u.base = r.base_unit
        group by e.item, p.location
    ), under_way as (
        select l.item, t.destination as location, sum(l.shipped - l.received - l.lost) as quantity
        from stock_transfers t join stock_transfer_lines l using (case_id)
        where t.state = 'under way' group by l.item, t.destination
    ), back_orders as (
        select l.item, s.origin, s.destination, s.kind,
               sum(greatest(abs(l.quantity) - l.posted - coalesce(v.quantity, 0), 0)) as owed,
               sum(greatest(abs(l.quantity) - l.posted, 0)) as promised
        from stock_requests s join stock_request_lines l using (case_id)
        join cases c on c.id = s.case_id and c.state not in ('finished', 'rejected')
        left join (select case_id, line, sum(quantity) as quantity from stock_reservations group by case_id, line) v
               on v.case_id = l.case_id and v.line = l.line
        where s.posted_at is null and (l.verdict = 'back_order' or s.source = 'stock-back-order')
        group by l.item, s.origin, s.destination, s.kind
    ), owed as (
        select item, origin as location, sum(owed) as quantity from back_orders group by item, origin
    ), fetched as (
        select item, destination as location, sum(promised) as quantity from back_orders
        where kind = 'transfer' group by item, destination
    ), asked as (
        select n.item, n.from_location as location, sum(n.quantity) as quantity
        from replenishment_needs n
        where n.closed_at is null and n.from_location is not null and not exists (
            select from cases c left join stock_requests s on s.case_id = c.id
            where c.parent_id = n.case_id
              and (s.posted_at is not null or exists (select from stock_reservations v where v.case_id = c.id)))
        group by n.item, n.from_location
    ), open as (
        select item, location, id, case_id, quantity, on_day from replenishment_needs where closed_at is null
    ), refused as (
        select item, location, max(closed_at) as at from replenishment_needs
        where outcome = any(:refused) and closed_at > now() - interval '367 days' group by item, location
    )"""

_FIGURES = f"""
    with {_RULES}, {_DEMAND}, {_LEAD_TIMES}, {_COMING}
    select r.item, r.location, r.method, r.from_location, r.supplier, r.decimals, r.base_unit, r.min_quantity,
           r.multiple, r.lead_time_days, r.service_level, r.minimum, r.maximum, r.review_days,
           r.reorder_point as override,
           coalesce(d.total, 0) as total, coalesce(d.squares, 0) as squares, d.days_out,
           coalesce(s.quantity, 0) <= 0 as empty,
           coalesce(t.times, 0) as times, t.mean as lead_time, t.sd as lead_time_sd,
           coalesce(s.quantity, 0) - coalesce(s.expired, 0) as on_hand, coalesce(s.expired, 0) as expired,
           coalesce(s.reserved, 0) as reserved, coalesce(p.ordered, 0) as on_order,
           coalesce(p.received, 0) as being_put_away,
           coalesce(w.quantity, 0) + coalesce(f.quantity, 0) as under_way,
           coalesce(o.quantity, 0) as back_ordered, coalesce(a.quantity, 0) as asked_by_others,
           n.id as open_need, n.case_id as open_case, n.on_day as open_since,
           case when x.at + r.review_days * interval '1 day' > now() then x.at + r.review_days * interval '1 day' end
               as refused_until
    from rules r
    left join demand d using (item, location) left join stock s using (item, location)
    left join lead_times t using (item, location) left join purchased p using (item, location)
    left join under_way w using (item, location) left join fetched f using (item, location)
    left join owed o using (item, location) left join asked a using (item, location)
    left join open n using (item, location) left join refused x using (item, location)
    order by r.item, r.location"""

STOCK = ("on_hand", "reserved", "on_order", "being_put_away", "under_way", "back_ordered", "asked_by_others")
"""What makes up the position, in this order; those that take away from it:"""
TAKES = ("reserved", "back_ordered", "asked_by_others")


@dataclass(frozen=True)
class Window:
    """The history that is looked at: the days before an instant, which begins a day of the company."""

    until: datetime
    days: int = WINDOW_DAYS

    @property
    def values(self) -> dict[str, Any]:
        """Bound values for the statement."""
        zone = warehouse().zone
        last = self.until.astimezone(zone).date()
        first = last - timedelta(days=self.days)
        return {
            "since": datetime(first.year, first.month, first.day, tzinfo=zone),
            "until": self.until,
            "first": first,
            "last": last,
            "zone": str(zone),
            "lead_times_since": self.until - LEAD_TIMES_SINCE,
        }


def figures(
    connection: Connection, window: Window, *, item: str | None = None, location: str | None = None
) -> pd.DataFrame:
    """Return every active rule's figures, from demand to what is missing; one row a place.

    :param item: only this item; with `location` only this place.
    """
    declared = warehouse()
    units = [
        {"unit": unit, "base": base, "factor": str(float(factor))}
        for unit, base in product(declared.units, repeat=2)
        if unit != base and (factor := declared.factor(unit, base)) is not None
    ]
    places = [
        {"category": name, "location": category.stock}
        for name, category in purchasing().categories.items()
        if category.stock
    ]
    values = {
        **window.values,
        "item": item,
        "location": location,
        "used": list(USED),
        "refused": list(REFUSED),
        "places": Jsonb(places),
        "units": Jsonb(units),
        "today": datetime.now(declared.zone).date(),
    }
    return computed(read_frame(connection, _FIGURES, values), window.days)


def computed(frame: pd.DataFrame, window_days: int) -> pd.DataFrame:
    """Add what the formulas say to rows of history and stock."""
    days_out = _floats(frame["days_out"].where(frame["days_out"].notna(), frame["empty"] * window_days))
    days = np.clip(window_days - days_out, min(LEAST_DAYS, window_days), window_days)
    total, squares = _floats(frame["total"]), _floats(frame["squares"])
    demand = total / days
    demand_sd = np.sqrt(np.clip((squares - total * demand) / np.maximum(days - 1, 1), 0, None))
    known = (_floats(frame["times"]) >= LEAST_LEAD_TIMES) & frame["lead_time"].notna().to_numpy()
    ruled = frame["lead_time_days"].notna().to_numpy()
    from_history = np.where(known, _floats(frame["lead_time"]), ASSUMED_LEAD_TIME)
    lead_time = np.where(ruled, _floats(frame["lead_time_days"]), from_history)
    lead_time_sd = np.where(known, _floats(frame["lead_time_sd"]), 0.0)
    z = formulas.safety_factor(frame["service_level"])
    safety = formulas.safety_stock(z, demand, demand_sd, lead_time, lead_time_sd)
    computed_point = formulas.reorder_point(demand, lead_time, safety)
    overridden, minimum = frame["override"].notna().to_numpy(), _floats(frame["minimum"])
    point = np.maximum(np.where(overridden, _floats(frame["override"]), computed_point), minimum)
    filled = formulas.order_up_to(point, demand, _floats(frame["review_days"]))
    up_to = np.where(frame["maximum"].notna(), np.maximum(_floats(frame["maximum"]), point), filled)
    by_levels = (frame["method"] == "min_max").to_numpy()
    frame["days"], frame["days_out"] = days, days_out
    frame["demand"], frame["demand_sd"] = demand, demand_sd
    frame["lead_time"], frame["lead_time_sd"] = lead_time, lead_time_sd
    frame["lead_time_from"] = np.where(ruled, "rule", np.where(known, "history", "assumed"))
    frame["z"], frame["safety_stock"] = z, safety
    frame["point"] = np.where(by_levels, minimum, point).round(6)
    frame["up_to"] = np.where(by_levels, _floats(frame["maximum"]), up_to).round(6)
    position = sum(-frame[name] if name in TAKES else frame[name] for name in STOCK)
    frame["position"] = position
    frame["short"] = _floats(frame["position"]) <= _floats(frame["point"])
    return frame


def _floats(column: Any) -> formulas.Column:
    """A column of Decimals and None as floats; nothing is zero."""
    return np.asarray(pd.to_numeric(pd.Series(column), errors="coerce").fillna(0), dtype=np.float64)
