"""What became of a set of deliveries, read from the database: the figures of the demo's tables.

It counts and changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

STATES = """
select state, stage, count(*) as cases from cases where delivery_id = any(cast(:receipts as uuid[]))
group by state, stage order by state, stage
"""

# One row a figure: what it is about, what is counted, how many. The order is the order of the steps.
FIGURES = """
with mine as (select id, state, reasons, delivery_id, workflow from cases
              where delivery_id = any(cast(:receipts as uuid[]))),
     my_leads as (select l.* from leads l join mine on mine.id = l.case_id),
     my_effects as (select e.* from effects e join mine on mine.id = e.case_id)
select 1 as place, 'received' as step, d.source as what, count(*) as n
from mine join deliveries d on d.id = mine.delivery_id group by d.source
union all
select 2, 'quarantined', reason->>'code', count(distinct mine.id)
from mine, jsonb_array_elements(mine.reasons) reason where mine.state = 'quarantined' group by reason->>'code'
union all
select 3, 'matched', case match when 'new' then 'new people' when 'same' then 'merged into a known contact'
                                else 'possible duplicates, for a person to decide' end, count(*)
from my_leads where match is not null group by match
union all
select 4, 'contacts', 'in the directory', count(distinct contact_id) from my_leads where contact_id is not null
union all
select 5, 'CRM', replace(operation, '_', ' ') || coalesce(' (' || nullif(state, 'sent') || ')', ''), count(*)
from my_effects where system = 'crm' group by operation, state
union all
select 6, 'deals', state, count(*) from deals where id in (select deal_id from my_leads) group by state
union all
select 7, 'segments', segment, count(*) from my_leads where segment is not null group by segment
union all
select 8, 'mails', replace(mail, '_', ' '), count(*) from my_leads where mail is not null group by mail
union all
select 9, 'clients', 'since a deal was won', count(*) from clients where deal_id in (select deal_id from my_leads)
union all
select 10, 'report', 'rows', count(*) from report_lead_facts where case_id in (select id from mine)
union all
select 11, 'alerts', replace(kind, '_', ' ') || ' (' || state || ')', count(*)
from alerts where last_at >= :since group by kind, state
union all
select 12, 'chat', 'messages', count(*) from chat_log where coalesce(updated_at, posted_at) >= :since
order by 1, 4 desc, 3
"""

OPEN_DEALS = """
select d.id::text from deals d
where d.state = 'open' and d.id in
      (select l.deal_id from leads l join cases c on c.id = l.case_id
       where c.delivery_id = any(cast(:receipts as uuid[])) and c.state = 'finished')
order by d.id limit :count
"""

TIMES = """
select count(distinct e.run_id) as runs,
       extract(epoch from percentile_cont(0.5) within group (order by c.closed_at - d.received_at)) as median
from cases c join deliveries d on d.id = c.delivery_id
     left join events e on e.case_id = c.id and e.kind = 'claimed'
where c.delivery_id = any(cast(:receipts as uuid[])) and c.closed_at is not null
"""


@dataclass(frozen=True)
class Standing:
    """How many cases stand where.

    :param settled: closed, in quarantine, or waiting for a person.
    :param stages: cases under way, by the step that they are at.
    """

    total: int
    settled: int
    stages: dict[str, int]


def standing(connection: Connection, receipts: Sequence[str]) -> Standing:
    """Return where the cases of these deliveries stand."""
    rows = connection.execute(text(STATES), {"receipts": list(receipts)}).all()
    under_way: dict[str, int] = {}
    for state, stage, cases in rows:
        if state in ("pending", "running"):
            under_way[stage] = under_way.get(stage, 0) + cases
    total = sum(cases for _, _, cases in rows)
    return Standing(total, total - sum(under_way.values()), under_way)


def figures(connection: Connection, receipts: Sequence[str], since: datetime) -> list[tuple[str, str, int]]:
    """Return step, what is counted, and the number, in the order of the steps."""
    rows = connection.execute(text(FIGURES), {"receipts": list(receipts), "since": since})
    return [(row.step, row.what, row.n) for row in rows]


def open_deals(connection: Connection, receipts: Sequence[str], count: int) -> list[str]:
    """Return keys of deals that came of these deliveries and are still open."""
    return list(connection.execute(text(OPEN_DEALS), {"receipts": list(receipts), "count": count}).scalars())


def times(connection: Connection, receipts: Sequence[str]) -> tuple[int, float | None]:
    """Return how many runs worked on these cases, and the median of seconds from receipt to close."""
    row = connection.execute(text(TIMES), {"receipts": list(receipts)}).one()
    return row.runs, float(row.median) if row.median is not None else None
