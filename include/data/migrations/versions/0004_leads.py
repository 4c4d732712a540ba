"""Leads, deals and clients: what lead-to-client knows of its cases, and the facts its reports are made of."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

UP = """
create table leads (
    case_id      bigint primary key references cases,
    source       text not null,
    submitted_at timestamptz,
    raw          jsonb not null,
    email        text,
    email_key    text,
    phone        text,
    first_name   text,
    last_name    text,
    full_name    text,
    name_key     text,
    company      text,
    company_key  text,
    domain       text,
    country      char(2),
    region       text,
    city         text,
    postal_code  text,
    language     text,
    job_title    text,
    company_size integer,
    interest     text,
    message      text,
    consent      boolean,
    consent_at   timestamptz,
    score        integer,
    first_touch  jsonb,
    last_touch   jsonb,
    utm_source   text,
    campaign     text,
    external_id  text,
    match        text check (match in ('new', 'same', 'possible')),
    contact_id   uuid references directory_contacts,
    company_id   uuid references directory_companies,
    segment      text,
    segment_rule text,
    sla_hours    numeric,
    market       text,
    territory    text,
    assignee     text,
    task_due_at  timestamptz,
    deal_id      uuid,
    mail         text
) with (fillfactor = 70);
create index leads_by_contact on leads (contact_id);

-- a contact has one open deal at a time: the next lead of the same person joins it
create table deals (
    id         uuid primary key default uuidv7(),
    contact_id uuid not null references directory_contacts,
    company_id uuid references directory_companies,
    case_id    bigint not null references cases,
    state      text not null default 'open' check (state in ('open', 'won', 'lost')),
    amount     numeric(18, 2) check (amount >= 0),
    currency   char(3),
    reason     text,
    opened_at  timestamptz not null default now(),
    closed_at  timestamptz,
    closed_by  bigint references cases,
    constraint closed_deals_have_a_date check ((state = 'open') = (closed_at is null))
);
create unique index one_open_deal_a_contact on deals (contact_id) where state = 'open';
create index deals_by_case on deals (case_id);
alter table leads add foreign key (deal_id) references deals;

create table clients (
    id         uuid primary key default uuidv7(),
    deal_id    uuid not null unique references deals,
    contact_id uuid not null references directory_contacts,
    company_id uuid references directory_companies,
    case_id    bigint not null references cases,
    since      timestamptz not null
);

-- one row a lead case, written when the case passes `sync_reporting`; the funnel is counted from these
create table report_lead_facts (
    case_id      bigint primary key references cases,
    day          date not null,
    source       text not null,
    campaign     text not null,
    segment      text not null,
    owner        text not null,
    country      text not null,
    match        text not null,
    contact_id   uuid not null,
    deal_id      uuid,
    mail         text not null,
    received_at  timestamptz not null,
    processed_at timestamptz not null
);
create index report_lead_facts_by_day on report_lead_facts (day);
create index report_lead_facts_by_deal on report_lead_facts (deal_id);

create view report_lead_funnel as
select f.day, f.source, f.campaign, f.segment, f.owner,
       count(*) as leads,
       count(*) filter (where f.match <> 'same') as new_contacts,
       count(*) filter (where d.case_id = f.case_id) as deals,
       count(*) filter (where d.case_id = f.case_id and d.state = 'won') as clients,
       count(*) filter (where d.case_id = f.case_id and d.state = 'lost') as lost,
       percentile_cont(0.5) within group (order by extract(epoch from f.processed_at - f.received_at)) as median_seconds
from report_lead_facts f left join deals d on d.id = f.deal_id
group by f.day, f.source, f.campaign, f.segment, f.owner;
"""


def upgrade() -> None:
    """Create the tables of lead-to-client."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute("drop view report_lead_funnel; drop table report_lead_facts, clients, leads, deals;")
