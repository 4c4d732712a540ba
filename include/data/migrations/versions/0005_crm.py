"""The built-in providers' own tables: a CRM, a mailbox and a chat log, for whoever has none of them connected."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"

UP = """
create table crm_companies (
    key        text primary key,
    properties jsonb not null,
    name       text generated always as (properties->>'name') stored,
    domain     text generated always as (properties->>'domain') stored,
    updated_at timestamptz not null default now()
);
create table crm_contacts (
    key         text primary key,
    company_key text references crm_companies,
    properties  jsonb not null,
    email       text generated always as (properties->>'email') stored,
    stage       text generated always as (properties->>'lifecycle_stage') stored,
    owner       text generated always as (properties->>'owner') stored,
    updated_at  timestamptz not null default now()
);
create table crm_deals (
    key         text primary key,
    contact_key text references crm_contacts,
    company_key text references crm_companies,
    properties  jsonb not null,
    stage       text generated always as (properties->>'stage') stored,
    updated_at  timestamptz not null default now()
);
create table crm_tasks (
    key         text primary key,
    contact_key text references crm_contacts,
    deal_key    text references crm_deals,
    properties  jsonb not null,
    owner       text generated always as (properties->>'owner') stored,
    updated_at  timestamptz not null default now()
);
create table mailbox (
    key     text primary key,
    "to"    text not null,
    subject text not null,
    message jsonb not null,
    sent_at timestamptz not null default now()
);
create table chat_log (
    key        text primary key,
    channel    text not null,
    text       text not null,
    blocks     jsonb,
    posted_at  timestamptz not null default now(),
    updated_at timestamptz
);
"""


def upgrade() -> None:
    """Create the built-in systems."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute("drop table chat_log, mailbox, crm_tasks, crm_deals, crm_contacts, crm_companies;")
