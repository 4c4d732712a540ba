"""A year of a company in a database of its own: what the ops pages and the reports are measured over.

1,000,000 cases with ten events each, most of them finished, and behind them leads, purchases with their approvals,
bookings and budgets, service levels, effects, alerts, and half as many movements of stock, which are valued. Of all of
it the year's last day is as busy as any other. SQL writes it, without the triggers that would write the events again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from benchmarks.intake import durable_server
from include.data import database
from include.data.database import authored
from include.stock import periods
from include.stock.valuation import value
from include.stock.warehouse import sync, warehouse

CASES = 1_000_000
EVENTS_A_CASE = 10
BATCH = 100_000
ITEMS = 4_000
PERSON = "frank.weber"
"""Whoever looks at the pages: one of four who are asked in every round."""

# Half are leads, three tenths stock requests, the others purchases. Two hundredths are open, and 15 of 100 purchases
# wait for people. A case's number is its id.
_CASES = """
    with new as (
        select n, uuidv7() as id, n % 100 as part, case when n % 10 < 5 then 'lead_to_client'
               when n % 10 < 8 then 'stock_request' else 'purchase_approval' end as workflow,
               now() - make_interval(secs => (cast(:cases as bigint) - n) * 31536000.0 / :cases) as at
        from generate_series(cast(:first as bigint), :last) as n
    ), standing as (
        select *, case when part in (0, 8, 18, 28) then 'waiting' when n % 200 in (1, 155) then 'quarantined'
                       else 'finished' end as state from new
    ), delivered as (
        insert into deliveries (id, source, workflow, key, digest, body, received_at)
        select id, 'website', workflow, 'id:' || n, sha256(n::text::bytea),
               convert_to(json_build_object('email', 'person' || n % :people || '@example.com', 'company', 'Company ' ||
                   n % 5000 || ' GmbH', 'message', repeat('Please call me about the offer. ', 5))::text, 'UTF8'), at
        from new
    )
    insert into cases (id, workflow, key, delivery_id, state, stage, owner, outcome, reasons, created_at, updated_at,
                       closed_at)
    overriding system value
    select n, workflow, 'website/id:' || n, id, state,
           case when state = 'quarantined' then 'validate' when part in (8, 18, 28) then 'approve' else 'log' end,
           case when part in (8, 18, 28) then 'frank.weber' else 'revenue_operations' end,
           case when state = 'finished' then 'done' end,
           case when state = 'quarantined' then jsonb_build_array(jsonb_build_object(
               'code', case when workflow = 'stock_request' then 'item.unknown'
                            else (array['email.invalid', 'phone.invalid', 'email.missing'])[1 + n % 3] end,
               'message', 'not right', 'field', case when workflow = 'stock_request' then 'item' else 'email' end)) end,
           at, at, case when state = 'finished' then at + interval '1 minute' end from standing"""
_EVENTS = """
    insert into events (at, case_id, workflow, kind, stage, state, actor, run_id, step, detail)
    select c.created_at + make_interval(secs => e), c.id, c.workflow,
           case when e = 0 then 'received' when e = 1 then 'claimed'
                when e < :each - 1 then 'advanced' else c.state end,
           c.stage, c.state, 'system:steps', 'run-' || c.id / 500, c.stage,
           case when e = :each - 1 and c.state = 'quarantined' then jsonb_build_object('reasons', c.reasons) end
    from cases c, generate_series(0, :each - 1) as e
    where c.id between :first and :last order by c.id, e"""
_EFFECTS = """
    insert into effects (key, system, operation, case_id, step, target, payload, mode, state, attempts, answer, error,
                         created_at, sent_at)
    select c.workflow || '/' || c.id || '/log/' || operation, system, operation, c.id, step, 'x' || c.id,
           '{"email": "person@example.com"}', 'live',
           case when system = 'mail' then 'sent' when c.id % 500 = 0 then 'dead' when c.id % 500 = 1 then 'failed'
                else 'sent' end, 1,
           case when c.id % 500 > 1 or system = 'mail' then '{"id": "1"}'::jsonb end,
           case when c.id % 500 < 2 and system <> 'mail' then 'the system refused it: 422 not acceptable' end,
           c.created_at, case when c.id % 500 > 1 or system = 'mail' then c.created_at + interval '30 seconds' end
    from cases c, lateral (
        select (array['crm', 'erp'])[1 + (c.workflow <> 'lead_to_client')::int] as system,
               (array['upsert_contact', 'place_order'])[1 + (c.workflow <> 'lead_to_client')::int] as operation,
               'log' as step
        union all select 'mail', 'send_mail', 'send_mail' where c.workflow = 'lead_to_client'
    ) as planned
    where c.id between :first and :last"""
# Stock requests have more than a year: those that are open will be late soon, and all other open cases are late.
_LEVELS = """
    insert into service_levels (case_id, workflow, step, visit, started_at, warn_at, due_at, escalate_at, ended_at,
                                stopped, missed_at, met_at, on_case)
    select c.id, c.workflow, step, 1, c.created_at, c.created_at + interval '1 hour', c.created_at + allowed,
           c.created_at + allowed + interval '2 hours', c.closed_at, '0',
           case when c.closed_at is null and c.created_at + allowed < now() then c.created_at + allowed end,
           c.closed_at, step is null
    from cases c, unnest(array[null, c.stage]) as step, lateral (
        select case when c.workflow = 'stock_request' then interval '400 days' else interval '2 hours' end as allowed
    ) as promised
    where c.id between :first and :last"""
_LEADS = """
    with new as (
        select c.*, md5('contact' || c.id % :people)::uuid as contact, c.id % 5000 as firm,
               'person' || c.id % :people || '@example.com' as address
        from cases c where c.id between :first and :last and c.workflow = 'lead_to_client'
    ), written as (
        insert into leads (case_id, source, submitted_at, raw, email, email_key, phone, first_name, last_name,
                           full_name, company, company_key, domain, country, language, consent, utm_source, campaign,
                           match, contact_id, company_id, segment, assignee, deal_id)
        select id, 'website', created_at, jsonb_build_object('email', address), address, address,
               '+4930' || 1000000 + id, 'Anneliese', 'Person ' || id, 'Anneliese Person ' || id,
               'Company ' || firm || ' GmbH', 'company ' || firm, 'example.com', 'DE', 'de', true, 'fair',
               'campaign ' || id % 12, 'new', contact, md5('company' || firm)::uuid, 'medium',
               (array['max.lang', 'eva.roth', 'jan.ott'])[1 + id % 3], null
        from new
    ), facts as (
        insert into report_lead_facts (case_id, day, source, campaign, segment, owner, country, match, contact_id, mail,
                                       received_at, processed_at, happened_at)
        select id, created_at::date, (array['website', 'fair', 'partner'])[1 + id % 3], 'campaign ' || id % 12,
               'medium', (array['max.lang', 'eva.roth', 'jan.ott'])[1 + id % 3], 'DE', 'new', contact, 'welcome',
               created_at, closed_at, created_at
        from new where closed_at is not null
    ), dealt as (
        insert into deals (id, contact_id, company_id, case_id, state, amount, currency, opened_at, closed_at,
                           lost_at)
        select md5('deal' || id)::uuid, contact, md5('company' || firm)::uuid, id,
               case id % 30 when 0 then 'open' when 10 then 'won' else 'lost' end, 1000 + id % 9000, 'EUR', closed_at,
               case when id % 30 > 0 then created_at + interval '3 hours' end,
               case when id % 30 = 20 then created_at + interval '3 hours' end
        from new where closed_at is not null and id % 10 = 0 and created_at < now() - interval '3 hours'
        on conflict do nothing
    )
    insert into clients (deal_id, contact_id, company_id, case_id, since)
    select md5('deal' || id)::uuid, contact, md5('company' || firm)::uuid, id, created_at + interval '3 hours'
    from new where closed_at is not null and id % 30 = 10 and created_at < now() - interval '3 hours'"""
_PEOPLE = """
    with firms as (
        insert into directory_companies (id, name, name_key, domain)
        select md5('company' || n)::uuid, 'Company ' || n || ' GmbH', 'company ' || n, 'company' || n || '.example'
        from generate_series(0, 4999) n
    ), contacts as (
        insert into directory_contacts (id, email, email_key, phone, first_name, last_name, full_name, company_id,
                                        company_key, domain, country)
        select md5('contact' || n)::uuid, 'person' || n || '@example.com', 'person' || n || '@example.com',
               '+4930' || 1000000 + n, 'Anneliese', 'Person ' || n, 'Anneliese Person ' || n,
               md5('company' || n % 5000)::uuid, 'company ' || n % 5000, 'example.com', 'DE'
        from generate_series(0, :people - 1) n
    ), pairs as (
        insert into possible_duplicates (contact_a, contact_b, score, evidence)
        select least(a, b), greatest(a, b), 0.8, '{"name": "alike"}'
        from (select md5('contact' || 2 * n)::uuid as a, md5('contact' || 2 * n + 1)::uuid as b
              from generate_series(0, 1999) n) pair
    )
    insert into contact_keys (kind, value, contact_id)
    select 'email', 'person' || n || '@example.com', md5('contact' || n)::uuid from generate_series(0, :people - 1) n"""
_PURCHASES = """
    with new as (
        select *, (array['it', 'marketing', 'sales', 'logistics'])[1 + id / 10 % 4] as centre, 100 + id % 4900 as net
        from cases where id between :first and :last and workflow = 'purchase_approval'
    ), requested as (
        insert into purchase_requests (case_id, number, source, raw, requester, department, cost_centre, category,
                                       supplier, supplier_name, supplier_email, currency, net, tax, gross,
                                       company_currency, rate, amount, routed_amount, requested_at, digest)
        select id, 'PR-' || id, 'intranet', '{}', 'anna.schmidt', 'marketing', centre, 'services', 'S-' || id % 900,
               'Supplier ' || id % 900, 'sales@supplier' || id % 900 || '.example', 'EUR', net, net * 0.19, net * 1.19,
               'EUR', 1, net, net, created_at, encode(sha256(id::text::bytea), 'hex') from new
    ), ordered as (
        insert into purchase_orders (case_id, number, supplier, supplier_name, currency, net, tax, rate, cost_centre,
                                     category, requester, digest, state, ordered_at)
        select id, 'PO-' || id, 'S-' || id % 900, 'Supplier ' || id % 900, 'EUR', net, net * 0.19, 1, centre,
               'services', 'anna.schmidt', encode(sha256(id::text::bytea), 'hex'), 'closed', closed_at
        from new where state = 'finished'
    ), invoiced as (
        insert into supplier_invoices (case_id, raw, invoice_date)
        select id, '{}', closed_at::date from new where state = 'finished'
    ), booked as (
        insert into journal_lines (case_id, line, booked_on, document, supplier, account, cost_centre, debit, credit,
                                   currency, document_amount, document_currency, text)
        select id, line, closed_at::date, 'IN-' || id, 'S-' || id % 900, case line when 1 then '4900' else '1600' end,
               case line when 1 then centre end, case line when 1 then net else 0 end,
               case line when 1 then 0 else net end, 'EUR', net, 'EUR', 'services'
        from new, generate_series(1, 2) line where state = 'finished'
    ), budgeted as (
        insert into budget_entries (budget_id, case_id, key, kind, committed, consumed, actor, at)
        select b.id, n.id, kind || '/' || n.id, kind, case kind when 'commit' then net else -net end,
               case kind when 'commit' then 0 else net end, 'system:steps', n.closed_at
        from new n join budgets b on b.cost_centre = n.centre, unnest(array['commit', 'consume']) kind
        where n.state = 'finished'
    ), asked as (
        insert into approval_rounds (id, case_id, workflow, number, requester, title, shown, digest, policy, run_id,
                                     state, opened_at, closed_at, concluded_at, settled_at)
        overriding system value
        select id, id, workflow, 1, 'anna.schmidt', 'Purchase request PR-' || id || ' of ' || net || ' EUR',
               '[["Amount", "100.00 EUR"], ["Supplier", "Supplier"]]', encode(sha256(id::text::bytea), 'hex'),
               '2026-01', 'round-' || id, case when state = 'waiting' then 'open' else 'approved' end, created_at,
               closed_at, closed_at, closed_at from new
    ), staged as (
        insert into approval_stages (id, round_id, number, rule, why, needed, within, state, opened_at, asked_at,
                                     due_at, remind_at, escalate_at, expires_at)
        overriding system value
        select id, id, 1, 'budget', 'the amount is above 100 EUR', 1, '1 day',
               case when state = 'waiting' then 'open' else 'approved' end, created_at, created_at,
               created_at + interval '1 day', created_at + interval '12 hours', created_at + interval '2 days',
               created_at + interval '400 days' from new
    ), seats as (
        insert into approval_seats (stage_id, place, person, via, added_at)
        select id, place, (array['frank.weber', 'ines.vogt', 'tom.berger', 'maria.keller'])[1 + (id / 10 + place) % 4],
               'policy', created_at from new, generate_series(1, 2) place
    )
    insert into approval_decisions (round_id, stage_id, person, seat, answer, route, account, digest, at)
    select id, id, person, person, 'approve', 'page', person, encode(sha256(id::text::bytea), 'hex'),
           created_at + interval '40 seconds'
    from (select *, (array['frank.weber', 'ines.vogt', 'tom.berger', 'maria.keller'])[1 + (id / 10 + 1) % 4] as person
          from new where state = 'finished') decided"""
_STOCK_REQUESTS = """
    insert into stock_requests (case_id, number, source, kind, requester, origin, destination, reference, occurred_at,
                                posted_at)
    select id, 'SR-' || id, 'scanner', 'issue', 'lena.hoffmann', 'MAIN', 'CUSTOMER', 'R-' || id, created_at, closed_at
    from cases where id between :first and :last and workflow = 'stock_request'"""
_BUDGETS = """
    insert into budgets (cost_centre, category, starts, ends, amount, currency)
    select centre, 'services', current_date - 400, current_date + 400, 1000000000, 'EUR'
    from unnest(array['it', 'marketing', 'sales', 'logistics']) centre"""
_ALERTS = """
    with new as (
        insert into alerts (kind, fingerprint, workflow, step, cause, owner, channel, email, state, count, told,
                            first_at, last_at, resolved_at, resolution)
        select (array['task_failed', 'system_down', 'cases_quarantined', 'deadline_missed'])[1 + n % 4], 'bench ' || n,
               'lead_to_client', 'validate', 'cause ' || n, 'revenue_operations', '#leads', 'leads@nordlicht.example',
               case when n > 2850 then 'open' else 'resolved' end, 3, 1, at, at, case when n <= 2850 then at end,
               case when n <= 2850 then 'it is over' end
        from (select n, now() - (3000 - n) * interval '3 hours' as at from generate_series(1, 3000) n) each
        returning id, kind
    ), open_cases as (
        select id, row_number() over (order by id) as place from cases where state = 'quarantined'
    )
    insert into alert_subjects (what, subject_id, mark, alert_id)
    select 'case', c.id, '1', a.id
    from (select id, row_number() over (order by id) as place from new where kind = 'cases_quarantined') a
    join open_cases c on c.place % 750 = a.place - 1"""
_WEEKS = """
    insert into service_level_weeks (workflow, step, week, met, missed)
    select workflow, step, date_trunc('week', coalesce(met_at, missed_at) at time zone 'UTC')::date, count(met_at),
           count(missed_at)
    from service_levels where coalesce(met_at, missed_at) is not null group by 1, 2, 3"""
_BUDGET_SUMS = """
    update budgets set committed = sums.committed, consumed = sums.consumed
    from (select budget_id, sum(committed) as committed, sum(consumed) as consumed from budget_entries group by 1) sums
    where id = budget_id"""
_LOOKED = "update service_level_looks set seen_event = (select max(id) from events)"
_ITEMS = """
    insert into stock_items (code, title, item_group, base_unit)
    select 'ITEM-' || n, 'Item ' || n, case n % 3 when 0 then 'goods' else 'material' end, 'pcs'
    from generate_series(1, :items) n"""
# Of five movements of an item two bring 30 each, and three take 19 each, so that the shop runs out now and then.
_MOVEMENTS = """
    insert into stock_movements (key, kind, item, source, destination, quantity, unit_cost, moved_at)
    select 'year/' || n, case when n % 5 < 2 then 'receipt' else 'issue' end, 'ITEM-' || (1 + n / 5 % :items),
           case when n % 5 < 2 then 'SUPPLIER' else 'SHOP' end, case when n % 5 < 2 then 'SHOP' else 'CUSTOMER' end,
           case when n % 5 < 2 then 30 else 19 end, case when n % 5 < 2 then 5 + n % 97 * 0.0713 end,
           now() - make_interval(secs => (cast(:movements as bigint) - n) * 31536000.0 / :movements)
    from generate_series(cast(:first as bigint), :last) n"""
_EXCEPTIONS = """
    with pages as (
        insert into stock_exception_reports (day, found, html)
        select current_date - n, 200, '' from generate_series(0, 365) n
    )
    insert into stock_exceptions (day, kind, subject, owner, item, location, quantity, value, days, told)
    select current_date - n, (array['negative', 'dead_stock', 'late_transfer'])[1 + s % 3], 'subject ' || s,
           'lena.hoffmann', 'ITEM-' || 1 + s, 'SHOP', 1, 10, 3, 'out of order'
    from generate_series(0, 365) n, generate_series(0, 199) s"""


@contextmanager
def a_year(cases: int = CASES) -> Iterator[Engine]:
    """Run a PostgreSQL of its own with the year in it; this process works on it as on its own database."""
    with durable_server() as url:
        os.environ["WAYBILL_DATABASE_URL"] = url
        os.environ.setdefault("WAYBILL_ENVIRONMENT", "production")
        os.environ["WAYBILL_BASE_URL"] = "http://127.0.0.1:9"  # nobody answers there: Airflow's own time is not ours
        database.engine.cache_clear()
        engine = database.engine()
        try:
            fill(engine, cases)
            yield engine
        finally:
            engine.dispose()


def fill(engine: Engine, cases: int) -> None:
    """Write the year."""
    fill_cases(engine, cases)
    _move_stock(engine, cases // 2)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum analyze"))


def fill_cases(engine: Engine, cases: int, events_a_case: int = EVENTS_A_CASE) -> None:
    """Write the year without its stock."""
    people = cases * 2 // 5
    _write(engine, (_PEOPLE, _BUDGETS), {"people": people})
    for first in range(1, cases + 1, BATCH):
        span = {"first": first, "last": min(first + BATCH - 1, cases)}
        values = {**span, "cases": cases, "people": people, "each": events_a_case}
        _write(engine, (_CASES, _EVENTS, _EFFECTS, _LEVELS, _LEADS, _PURCHASES, _STOCK_REQUESTS), values)
    _write(engine, (_BUDGET_SUMS, _ALERTS, _WEEKS, _LOOKED, _EXCEPTIONS), {})
    with engine.begin() as connection:
        for table in ("cases", "approval_rounds", "approval_stages"):
            connection.execute(text(f"select setval(pg_get_serial_sequence('{table}', 'id'), :last)"), {"last": cases})


def _write(engine: Engine, statements: tuple[str, ...], values: dict[str, int]) -> None:
    with engine.begin() as connection:
        connection.execute(text("set local session_replication_role = replica"))
        connection.execute(text("set local synchronous_commit = off"))
        for statement in statements:
            connection.execute(text(statement), values)


def _move_stock(engine: Engine, movements: int) -> None:
    """Post the year's movements, value them, and close its months."""
    with authored(engine, actor="system:benchmark") as connection:
        sync(connection)
        connection.execute(text(_ITEMS), {"items": ITEMS})
    for first in range(0, movements, BATCH):
        with authored(engine, actor="system:benchmark") as connection:
            connection.execute(
                text(_MOVEMENTS),
                {"first": first, "last": min(first + BATCH, movements) - 1, "items": ITEMS, "movements": movements},
            )
    with engine.begin() as connection:
        value(connection)
    now = datetime.now(UTC)
    month = (now.astimezone(warehouse().zone) - timedelta(days=370)).date().replace(day=1)
    with authored(engine, actor="system:benchmark") as connection:
        while (following := (month + timedelta(days=31)).replace(day=1)) < (now - timedelta(days=32)).date():
            periods.close(connection, month, "system:benchmark", now=now)
            month = following
