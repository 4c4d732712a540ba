"""Purchase requests and their orders; what comes in against an order is in the next migration."""

from __future__ import annotations

from alembic import op

revision = "0012"
down_revision = "0011"

UP = """
-- one row a case of purchase_approval. Money: as requested in `currency`, and in the company's at a dated rate
create table purchase_requests (
    case_id          bigint primary key references cases,
    number           text not null unique,
    source           text,
    raw              jsonb not null,
    requester        text,
    entered_by       text,
    department       text,
    cost_centre      text,
    category         text,
    supplier         text,
    supplier_name    text,
    supplier_email   text,
    supplier_country char(2),
    supplier_state   text check (supplier_state in ('active', 'inactive', 'blocked', 'new')),
    supplier_record  jsonb,
    currency         char(3),
    net              numeric(18, 4),
    tax              numeric(18, 4),
    gross            numeric(18, 4),
    claimed_gross    numeric(18, 4),
    company_currency char(3),
    rate             numeric(20, 10),
    rate_day         date,
    amount           numeric(18, 2),
    routed_amount    numeric(18, 2),
    needed_by        date,
    justification    text,
    attachments      jsonb not null default '[]',
    risk             text,
    requested_at     timestamptz,
    duplicate_of     bigint references cases,
    split_with       bigint[] not null default '{}',
    budget_id        bigint references budgets,
    over_budget      boolean,
    policy           text,
    routing          jsonb,
    digest           text check (digest ~ '^[0-9a-f]{64}$'),
    approved_by      text,
    updated_at       timestamptz not null default now()
);
create index purchase_requests_alike on purchase_requests (supplier, requested_at);
create index purchase_requests_by_requester on purchase_requests (requester, requested_at);

create table purchase_lines (
    case_id     bigint not null references purchase_requests,
    line        integer not null check (line > 0),
    item        text,
    description text not null,
    quantity    numeric(18, 4) not null,
    unit        text not null,
    unit_price  numeric(18, 4) not null,
    tax_rate    numeric(6, 4) not null default 0,
    net         numeric(18, 4) not null,
    tax         numeric(18, 4) not null,
    account     text,
    primary key (case_id, line)
);

-- an order stands as it was approved; what came against it is counted beside each line
create table purchase_orders (
    case_id      bigint primary key references cases,
    number       text not null unique,
    supplier     text not null,
    supplier_name text not null,
    supplier_email text,
    currency     char(3) not null,
    net          numeric(18, 4) not null,
    tax          numeric(18, 4) not null,
    rate         numeric(20, 10) not null,
    cost_centre  text not null,
    category     text not null,
    requester    text not null,
    digest       text not null,
    state        text not null default 'open' check (state in ('open', 'closed', 'cancelled')),
    ordered_at   timestamptz not null default now(),
    closed_at    timestamptz,
    closed_why   text
);

create table purchase_order_lines (
    order_id    bigint not null references purchase_orders,
    line        integer not null check (line > 0),
    item        text,
    description text not null,
    quantity    numeric(18, 4) not null check (quantity > 0),
    unit        text not null,
    unit_price  numeric(18, 4) not null check (unit_price >= 0),
    tax_rate    numeric(6, 4) not null check (tax_rate >= 0 and tax_rate < 1),
    account     text not null,
    most        numeric(18, 4) not null,
    received    numeric(18, 4) not null default 0,
    returned    numeric(18, 4) not null default 0,
    invoiced    numeric(18, 4) not null default 0,
    credited    numeric(18, 4) not null default 0,
    short_closed boolean not null default false,
    primary key (order_id, line),
    constraint never_more_received_than_tolerated check (received >= 0 and received - returned <= most),
    constraint never_more_returned_than_received check (returned >= 0 and returned <= received),
    constraint never_more_invoiced_than_tolerated check (invoiced >= 0 and invoiced - credited <= most),
    constraint never_more_credited_than_invoiced check (credited >= 0 and credited <= invoiced)
);

create table purchase_order_numbers (year integer primary key, last integer not null);
"""

DOWN = """
drop table purchase_order_numbers, purchase_order_lines, purchase_orders, purchase_lines, purchase_requests;
"""


def upgrade() -> None:
    """Create the tables of purchasing."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
