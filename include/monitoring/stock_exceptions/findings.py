"""What is out of order in the stock today, each with who answers for it: found, kept by day, and told.

It looks and changes nothing of the stock; how the page looks is `stock_page`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from sqlalchemy import Connection, Engine, RowMapping, text

from include.approvals.people import people
from include.contracts.registry import contract
from include.data.database import authored
from include.environment import base_url
from include.integrations import ledger
from include.integrations.systems import Effect, Mode, Provider
from include.monitoring.alerts.messages import mrkdwn
from include.stock.warehouse import warehouse

WORKFLOW = "stock_request"
STEP = "exceptions"
PAGE = "/stock-exceptions/"
AGEING_TRANSIT = 5
EXPIRES_WITHIN = 30
DEAD_AFTER = 180
WAITS_LONG = 14
"""Days: goods under way, until a lot expires, without any going out, and a back-order that waits."""
MOST_TOLD = 3
"""Examples of each kind in the digest; the page has them all."""

TITLES = {
    "negative_attempt": "More was asked for than was there",
    "negative_stock": "Below zero",
    "ageing_transit": "Under way for long",
    "back_order": "Back-orders that wait for long",
    "stale_reservation": "Reserved past its time",
    "expiring_lot": "Expires soon, or has expired",
    "dead_stock": "Nothing went out for half a year",
    "difference": "Differs from the ERP",
    "count_overdue": "Counts that are overdue",
    "no_rule": "Moves, and has no rule of replenishment",
    "no_cost": "There without a cost",
    "learned": "Learned from a feed, to be completed",
}
"""Kinds of exceptions, in the order in which they are told."""


@dataclass(frozen=True)
class Finding:
    """One thing that somebody must look at.

    :param subject: what it is about; with the kind and the day its identity.
    :param value: at cost, in the company's currency.
    :param days: how long it has been so; for an expiring lot, days left.
    """

    kind: str
    subject: str
    owner: str
    item: str | None
    location: str | None
    quantity: Decimal | None
    value: Decimal | None
    days: int | None
    case_id: int | None
    told: str


_COST = "coalesce(v.unit_cost, i.standard_cost)"
_TODAY = "cast(:today as date)"
_QUERIES = {
    "negative_attempt": """
        select l ->> 'item' as item, l ->> 'place' as location, sum((l ->> 'missing')::numeric) as quantity,
               0 as days, max(e.case_id) as case_id, 'asked for ' || count(*) || ' × in a day' as told,
               concat_ws(' at ', l ->> 'item', l ->> 'place') as subject
        from events e, jsonb_array_elements(e.detail -> 'lines') l
        where e.workflow = 'stock_request' and e.kind = 'stock short' and e.at > now() - interval '1 day'
        group by l ->> 'item', l ->> 'place'""",
    "negative_stock": f"""
        select b.item, b.location, b.quantity, b.quantity * {_COST} as value, concat_ws(' ', i.title, b.lot) as told,
               concat_ws('/', b.item, b.location, b.lot) as subject
        from stock_balances b join stock_items i on i.code = b.item left join stock_valuations v on v.item = b.item
        where b.real and b.quantity < 0""",
    "ageing_transit": f"""
        select l.item, t.destination as location, l.shipped - l.received - l.lost as quantity, t.case_id,
               (l.shipped - l.received - l.lost) * {_COST} as value,
               extract(day from now() - t.shipped_at)::int as days,
               t.number || ' from ' || t.origin as told, t.number || '/' || l.line as subject
        from stock_transfers t join stock_transfer_lines l using (case_id)
        join stock_items i on i.code = l.item left join stock_valuations v on v.item = l.item
        where t.state = 'under way' and l.received + l.lost < l.shipped
          and t.shipped_at < now() - make_interval(days => {AGEING_TRANSIT})""",
    "back_order": f"""
        select l.item, r.origin as location, l.quantity, c.id as case_id, l.quantity * {_COST} as value,
               extract(day from now() - c.created_at)::int as days, r.number as told,
               r.number || '/' || l.line as subject
        from stock_request_lines l join cases c on c.id = l.case_id join stock_requests r on r.case_id = c.id
        join stock_items i on i.code = l.item left join stock_valuations v on v.item = l.item
        where l.verdict = 'back_order' and c.state = 'waiting' and c.stage = 'post'
          and c.created_at < now() - make_interval(days => {WAITS_LONG})""",
    "stale_reservation": f"""
        select s.item, s.location, s.quantity, s.case_id, s.quantity * {_COST} as value,
               extract(day from now() - s.expires_at)::int as days, 'for case ' || s.case_id as told,
               concat_ws('/', s.case_id, s.line, s.location, s.lot) as subject
        from stock_reservations s join stock_items i on i.code = s.item
        left join stock_valuations v on v.item = s.item where s.expires_at < now()""",
    "expiring_lot": f"""
        select b.item, b.location, b.quantity, b.quantity * {_COST} as value,
               lots.expires_on - {_TODAY} as days,
               'lot ' || b.lot || case when lots.expires_on < {_TODAY} then ' expired ' else ' expires ' end
                   || lots.expires_on as told, concat_ws('/', b.item, b.location, b.lot) as subject
        from stock_balances b join stock_lots lots using (item, lot) join stock_items i on i.code = b.item
        left join stock_valuations v on v.item = b.item
        where b.real and b.quantity > 0 and lots.expires_on < {_TODAY} + {EXPIRES_WITHIN}""",
    "dead_stock": f"""
        select b.item, b.location, b.quantity, b.quantity * {_COST} as value,
               extract(day from now() - went.at)::int as days, i.title as told, b.item || '/' || b.location as subject
        from (select item, location, sum(quantity) as quantity from stock_balances
              where real and quantity > 0 group by item, location) b
        join stock_items i on i.code = b.item left join stock_valuations v on v.item = b.item
        cross join lateral (select max(m.moved_at) filter (where m.source = b.location) as last,
                                   min(m.moved_at) as first from stock_movements m where m.item = b.item) moved
        cross join lateral (select coalesce(moved.last, moved.first) as at) went
        where went.at < now() - make_interval(days => {DEAD_AFTER})""",
    "difference": f"""
        select l.item, l.location, l.waybill - l.erp as quantity, (l.waybill - l.erp) * {_COST} as value,
               c.id as case_id, c.owner, {_TODAY} - d.found_on as days, 'case ' || c.id as told,
               concat_ws('/', c.id, l.item, l.location, l.lot) as subject
        from cases c join stock_differences d on d.case_id = c.id join stock_difference_lines l on l.case_id = c.id
        left join stock_items i on i.code = l.item left join stock_valuations v on v.item = l.item
        where c.state not in ('finished', 'rejected')""",
    "count_overdue": f"""
        select p.location, p.case_id, {_TODAY} - p.planned_for as days,
               p.number || ', lines for ' || p.counter || ': ' || count(*) as told, p.number as subject
        from count_progress p join count_sheets s using (case_id) join cases c on c.id = p.case_id
        where c.state not in ('finished', 'rejected') and p.state = 'open' and s.due_at < now()
        group by p.case_id, p.number, p.location, p.planned_for, p.counter""",
    "no_rule": f"""
        select b.item, b.location, sum(b.quantity) as quantity, sum(b.quantity) * max({_COST}) as value,
               max(i.title) as told, b.item || '/' || b.location as subject
        from stock_balances b join stock_items i on i.code = b.item and i.active
        join stock_locations l on l.code = b.location and l.kind = 'internal'
        left join stock_valuations v on v.item = b.item
        where not exists (select from replenishment_rules r where r.item = b.item and r.location = b.location)
          and exists (select from stock_movements m where m.item = b.item and m.source = b.location
                      and m.moved_at > now() - interval '90 days')
        group by b.item, b.location""",
    "no_cost": f"""
        select b.item, sum(b.quantity) as quantity, max(i.title) as told, b.item as subject
        from stock_balances b join stock_items i on i.code = b.item left join stock_valuations v on v.item = b.item
        where b.real and b.quantity <> 0 and coalesce({_COST}, 0) = 0 group by b.item""",
    "learned": """
        select i.code as item, i.title || ' (from ' || i.learned_from || ')' as told, i.code as subject
        from stock_items i where i.learned_from is not null and i.active""",
}


def find(connection: Connection, now: datetime | None = None) -> list[Finding]:
    """Return everything that is out of order now, by kind, the dearest first.

    :param now: a moment of the company's day by which days are counted; by default this one.
    """
    found: list[Finding] = []
    values = {"today": warehouse().day_of(now or datetime.now(UTC))}
    for kind, query in _QUERIES.items():
        rows = connection.execute(text(query), values).mappings()
        of_kind = [_exception(kind, row) for row in rows]
        found += sorted(of_kind, key=lambda each: (-abs(each.value or Decimal(0)), -(each.days or 0), each.subject))
    return found


def _exception(kind: str, row: RowMapping) -> Finding:
    value = row.get("value")
    return Finding(
        kind=kind,
        subject=row["subject"],
        owner=row.get("owner") or _answers_for(row.get("location"), above=kind == "count_overdue"),
        item=row.get("item"),
        location=row.get("location"),
        quantity=row.get("quantity"),
        value=None if value is None else round(value, 2),
        days=row.get("days"),
        case_id=row.get("case_id"),
        told=row["told"],
    )


def _answers_for(location: str | None, *, above: bool = False) -> str:
    """The keeper of a place, or who is above them; the team of the workflow for what has no place."""
    place = warehouse().locations.get(location or "")
    if place is None or place.keeper is None:
        return contract(WORKFLOW).owner.id
    manager = people().next_in_line(place.keeper) if above else None
    return manager.id if manager else place.keeper


def report(engine: Engine, day: date, mode: Mode) -> int:
    """Find, keep and tell the exceptions of a day; the same day again renews what was kept, and tells it once.

    :returns: how many there are.
    """
    from include.monitoring.stock_exceptions import page  # noqa: PLC0415 - plots are heavy, and most who import this draw none

    with authored(engine, actor="system:exceptions", step=STEP) as connection:
        found = find(connection)
        connection.execute(text("delete from stock_exceptions where day = :day"), {"day": day})
        if found:
            connection.execute(
                text("""
                    insert into stock_exceptions (day, kind, subject, owner, item, location, quantity, value, days,
                                                  case_id, told)
                    values (:day, :kind, :subject, :owner, :item, :location, :quantity, :value, :days, :case_id,
                            :told)"""),
                [{"day": day, **asdict(each)} for each in found],
            )
        html = page.render(connection, day, found, TITLES)
        connection.execute(
            text("""
                insert into stock_exception_reports (day, found, html) values (:day, :found, :html)
                on conflict (day) do update set found = excluded.found, html = excluded.html, written_at = now()"""),
            {"day": day, "found": len(found), "html": html},
        )
        ledger.write(connection, [_digest(day, found)], mode)
    return len(found)


def deliver(engine: Engine, chat: Provider) -> int:
    """Deliver the digests that are due; returns how many the chat has not taken yet."""
    ledger.deliver(engine, chat, system="chat", scope=ledger.Scope(step=STEP))
    with engine.connect() as connection:
        left: int = connection.execute(
            text("""
                select count(*) from effects where system = 'chat' and step = :step and case_id is null
                  and state not in ('sent', 'dead')"""),
            {"step": STEP},
        ).scalar_one()
    return left


def page(connection: Connection, day: date | None = None) -> str | None:
    """Return the page of a day, or of the last day that there is one for; None where there is none."""
    return connection.execute(
        text("""
            select html from stock_exception_reports where cast(:day as date) is null or day = :day
            order by day desc limit 1"""),
        {"day": day},
    ).scalar()


def _digest(day: date, found: Sequence[Finding]) -> Effect:
    standing = f"{_things(len(found))} to look at" if found else "all in order"
    headline = f"Stock on {day:%d %b %Y}: {standing}"
    lines = [f"*{mrkdwn(headline)}*"]
    for kind, title in TITLES.items():
        if of_kind := [each for each in found if each.kind == kind]:
            lines += ["", f"*{title}: {len(of_kind)}* ({_owners(of_kind)})"]
            lines += [f"• {mrkdwn(_line(each))}" for each in of_kind[:MOST_TOLD]]
    lines += ["", f"<{base_url()}{PAGE}|All of them, with plots>"]
    block = {"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)[:2_900]}}
    payload = {"channel": contract(WORKFLOW).owner.notices, "text": headline, "blocks": [block]}
    key = f"{WORKFLOW}/{STEP}/{day}"
    return Effect(f"{key}/post_message", "chat", "post_message", None, STEP, f"{STEP}/{day}", payload)


def _owners(found: Iterable[Finding]) -> str:
    counted = Counter(each.owner for each in found)
    return ", ".join(f"{people().name(owner).replace('_', ' ')} {count}" for owner, count in counted.most_common(3))


def _line(each: Finding) -> str:
    parts = [each.item or each.told]
    if each.quantity is not None:
        parts.append(f"{each.quantity.normalize():f}")
    if each.location:
        parts.append(f"at {each.location}")
    if each.days is not None:
        parts.append(f"({each.days} days)")
    return " ".join(parts)


def _things(count: int) -> str:
    return "1 thing" if count == 1 else f"{count:,} things"
