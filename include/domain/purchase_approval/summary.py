"""What owners of cost centres are told every week: their budgets, and what waits for whom for how long.

Everything is told as it stood at the end of the week, by the entries and events up to then, so that a backfill tells
the same. Only a budget's amount is today's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from html import escape
from typing import Any

from sqlalchemy import Connection, Engine, text

from include.approvals.people import Person, people
from include.contracts.registry import contract
from include.data.database import authored
from include.data.money import Money
from include.domain.purchasing import purchasing
from include.integrations import ledger
from include.integrations.systems import Effect, Mode, Provider
from include.stock.warehouse import warehouse

WORKFLOW = "purchase_approval"
INVOICES = "supplier_invoice"
STEP = "summary"
AGEING = timedelta(days=7)
"""A request that is open for longer is listed, wherever it stands."""
MOST_LISTED = 20
LONGEST_CHAT = 2_800
"""Characters of one message; Slack takes 3,000 in a block."""


@dataclass
class Standing:
    """What one owner is told: headings with their lines."""

    owner: str
    cost_centres: list[str]
    sections: list[tuple[str, list[str]]] = field(default_factory=list)


def write_summaries(engine: Engine, since: datetime, until: datetime, mode: Mode) -> int:
    """Put the summaries of a week into the ledger, one mail an owner and week, and a message where they have a chat.

    :returns: how many effects are new or renewed.
    """
    with authored(engine, actor="system:summary", step=STEP) as connection:
        effects = [each for owner in standings(connection, since, until) for each in _effects(owner, since, until)]
        return ledger.write(connection, effects, mode)


def deliver_summaries(engine: Engine, provider: Provider, system: str) -> int:
    """Deliver what is due; returns how many summaries `system` has not taken yet."""
    ledger.deliver(engine, provider, system=system, scope=ledger.Scope(step=STEP))
    with engine.connect() as connection:
        return int(
            connection.execute(
                text("""
                    select count(*) from effects where system = :system and step = :step and case_id is null
                       and state not in ('sent', 'dead')"""),
                {"system": system, "step": STEP},
            ).scalar_one()
        )


def standings(connection: Connection, since: datetime, until: datetime) -> list[Standing]:
    """Return what each owner of cost centres is told about the week [since, until)."""
    centres: dict[str, list[str]] = {}
    for number, centre in purchasing().cost_centres.items():
        centres.setdefault(centre.owner, []).append(number)
    zone = warehouse().zone_name
    values = {"since": since, "until": until, "zone": zone, "centres": list(purchasing().cost_centres)}
    budgets = connection.execute(text(_BUDGETS), values).all()
    requests = connection.execute(text(_REQUESTS), values).all()
    exceptions = connection.execute(text(_EXCEPTIONS), values).all()
    found = []
    for owner, numbers in centres.items():
        mine = [row for row in requests if row.cost_centre in numbers]
        waiting = [row for row in mine if (row.state, row.stage) == ("waiting", "approve")]
        ageing = [row for row in mine if row not in waiting and row.created_at < until - AGEING]
        off = [row for row in exceptions if row.cost_centre in numbers]
        standing = Standing(owner, numbers)
        for number in numbers:
            lines = [_budget_line(row) for row in budgets if row.cost_centre == number]
            title = f"Budget of {number} {purchasing().cost_centres[number].name}"
            standing.sections.append((title, lines or ["There is none."]))
        standing.sections += [
            (f"Waiting for a decision ({len(waiting)})", _listed(_request_line(row, until) for row in waiting)),
            (
                f"Open for more than {AGEING.days} days ({len(ageing)})",
                _listed(_aged_line(row, until) for row in ageing),
            ),
            (f"Invoices that do not match ({len(off)})", _listed(_exception_line(row, until) for row in off)),
        ]
        found.append(standing)
    return found


_BUDGETS = """
    select b.cost_centre, b.category, b.starts, b.ends, b.amount, b.currency,
           coalesce(sum(e.committed), 0) as committed, coalesce(sum(e.consumed), 0) as consumed,
           coalesce(sum(e.consumed) filter (where e.at >= :since), 0) as lately
    from budgets b left join budget_entries e on e.budget_id = b.id and e.at < :until
    where b.cost_centre = any(:centres)
      and b.starts < (cast(:until as timestamptz) at time zone :zone)::date
      and b.ends >= (cast(:since as timestamptz) at time zone :zone)::date
    group by b.id order by b.cost_centre, b.category, b.starts"""

# A case stands where its last event before the end of the week put it, and is with whom the last one named.
_AS_OF = """
    cross join lateral (
        select e.stage, e.state, e.at, e.detail from events e
        where e.case_id = c.id and e.state is not null and e.at < :until order by e.id desc limit 1) then_
    left join lateral (
        select e.detail ->> 'owner' as person from events e
        where e.case_id = c.id and e.detail ? 'owner' and e.at < :until order by e.id desc limit 1) with_ on true"""

_REQUESTS = f"""
    select r.cost_centre, r.number, r.supplier_name, r.amount, r.company_currency, c.created_at,
           then_.stage, then_.state, then_.at as since, coalesce(with_.person, c.owner) as person
    from cases c join purchase_requests r on r.case_id = c.id {_AS_OF}
    where c.workflow = '{WORKFLOW}' and c.created_at < :until and (c.closed_at is null or c.closed_at >= :until)
      and r.cost_centre = any(:centres)
    order by c.created_at, c.id"""

_EXCEPTIONS = f"""
    select o.cost_centre, o.number as order_number, i.number, i.supplier_name, i.gross, i.currency, c.created_at,
           (select string_agg(distinct r ->> 'code', ', ') from jsonb_array_elements(then_.detail -> 'reasons') r)
               as reasons, coalesce(with_.person, c.owner) as person
    from cases c join supplier_invoices i on i.case_id = c.id
    join purchase_orders o on o.case_id = i.order_id or (i.order_id is null and o.number = i.order_number) {_AS_OF}
    where c.workflow = '{INVOICES}' and then_.state = 'quarantined' and c.created_at < :until
      and o.cost_centre = any(:centres)
    order by c.created_at, c.id"""


def _budget_line(row: Any) -> str:
    used = row.committed + row.consumed
    left = row.amount - used
    share = f"{used * 100 / row.amount:.0f} %" if row.amount else "all"
    category = purchasing().categories.get(row.category)
    return (
        f"{category.title if category else row.category}, {row.starts} to {row.ends}: "
        f"{share} of {_money(row.amount, row.currency)} used ({_money(row.consumed, row.currency)} booked, "
        f"{_money(row.committed, row.currency)} committed), "
        + (f"{_money(left, row.currency)} left" if left >= 0 else f"{_money(-left, row.currency)} BEYOND the budget")
        + f"; booked this week: {_money(row.lately, row.currency)}"
    )


def _request_line(row: Any, until: datetime) -> str:
    return f"{_age(row.since, until)}: {_request(row)}, with {_name(row.person)}"


def _aged_line(row: Any, until: datetime) -> str:
    titles = {step.id: step.title for step in contract(WORKFLOW).steps}
    place = "set aside" if row.state == "quarantined" else titles.get(row.stage, row.stage)
    return f"{_age(row.created_at, until)}: {_request(row)}, {place}, with {_name(row.person)}"


def _exception_line(row: Any, until: datetime) -> str:
    amount = "" if row.gross is None or row.currency is None else f" over {row.gross:,.2f} {row.currency}"
    document = f"{row.number or 'without a number'} of {row.supplier_name or 'an unknown supplier'}{amount}"
    why = row.reasons or "see the case"
    return f"{_age(row.created_at, until)}: {document} for {row.order_number}: {why}, with {_name(row.person)}"


def _request(row: Any) -> str:
    amount = "" if row.amount is None else f", {_money(row.amount, row.company_currency)}"
    return f"{row.number} {row.supplier_name or 'without a supplier'}{amount}"


def _money(amount: Decimal, currency: str) -> str:
    return str(Money(amount, currency))


def _age(since: datetime, until: datetime) -> str:
    days = (until - since).days
    return "today" if not days else "1 day" if days == 1 else f"{days} days"


def _name(owner: str) -> str:
    """A person by their name; a team has none but its id's."""
    return people().name(owner).replace("_", " ")


def _listed(lines: Iterable[str]) -> list[str]:
    every = list(lines)
    more = len(every) - MOST_LISTED
    return [*every[:MOST_LISTED], *([f"and {more} more"] if more > 0 else [])] or ["None."]


def _effects(standing: Standing, since: datetime, until: datetime) -> Iterator[Effect]:
    year, week, _ = since.isocalendar()
    # The owner and the week are the identity; to whom it goes when the owner has left is not.
    key = f"{WORKFLOW}/{STEP}/{year}-W{week:02}/{standing.owner}"
    reader = _reader(standing.owner)
    headline = f"Purchasing, week {week} of {year}: cost centre {', '.join(standing.cost_centres)}"
    intro = f"As of {until:%d %b %Y %H:%M} UTC, for the week from {since:%d %b}."
    mail = {
        "to": reader.email if reader else contract(WORKFLOW).owner.email,
        "subject": headline,
        "text": "\n\n".join([intro, *(_plain(title, lines) for title, lines in standing.sections)]) + "\n",
        "html": f"<p>{escape(intro)}</p>" + "".join(_html(title, lines) for title, lines in standing.sections),
        "headers": {"Auto-Submitted": "auto-generated"},
    }
    target = f"{STEP}/{year}-W{week:02}/{standing.owner}"
    yield Effect(f"{key}/send_mail", "mail", "send_mail", None, STEP, target, mail)
    if reader and reader.slack:
        body = "\n\n".join(_marked(title, lines) for title, lines in standing.sections)
        shown = f"*{_slack(headline)}*\n{intro}\n\n{body}"
        if len(shown) > LONGEST_CHAT:
            shown = shown[:LONGEST_CHAT].rsplit("\n", 1)[0] + "\n… the whole of it is in your mail"
        block = {"type": "section", "text": {"type": "mrkdwn", "text": shown}}
        chat = {"channel": reader.slack, "text": headline, "blocks": [block]}
        yield Effect(f"{key}/post_message", "chat", "post_message", None, STEP, target, chat)


def _reader(owner: str) -> Person | None:
    """The owner, or who is above an owner that has left."""
    everybody = people()
    person = everybody.by_id.get(owner)
    if person and person.decides:
        return person
    return next((above for above in everybody.chain(owner) if above.decides), None)


def _plain(title: str, lines: Sequence[str]) -> str:
    return "\n".join([title, *(f"- {line}" for line in lines)])


def _html(title: str, lines: Sequence[str]) -> str:
    return f"<h3>{escape(title)}</h3><ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>"


def _marked(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"*{_slack(title)}*", *(f"• {_slack(line)}" for line in lines)])


def _slack(line: str) -> str:
    """Nothing that somebody wrote may call a channel or draw a link."""
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
