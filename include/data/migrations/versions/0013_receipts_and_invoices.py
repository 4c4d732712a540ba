"""Goods receipts, supplier invoices, and the journal that goes to accounting."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"

UP = """
create table goods_receipts (
    case_id      bigint primary key references cases,
    number       text,
    order_id     bigint references purchase_orders,
    order_number text,
    kind         text check (kind in ('delivery', 'return')),
    received_by  text,
    received_on  date,
    source       text,
    raw          jsonb not null,
    posted_at    timestamptz
);
create index goods_receipts_by_order on goods_receipts (order_id);

create table goods_receipt_lines (
    case_id     bigint not null references goods_receipts,
    line        integer not null check (line > 0),
    order_line  integer,
    item        text,
    quantity    numeric(18, 4) not null check (quantity > 0),
    condition   text not null default 'good' check (condition in ('good', 'damaged')),
    accepted    numeric(18, 4) not null default 0 check (accepted >= 0 and accepted <= quantity),
    note        text,
    primary key (case_id, line)
);

create table supplier_invoices (
    case_id      bigint primary key references cases,
    supplier     text,
    number       text,
    kind         text check (kind in ('invoice', 'credit_note')),
    order_id     bigint references purchase_orders,
    order_number text,
    corrects     text,
    invoice_date date,
    due_date     date,
    currency     char(3),
    net          numeric(18, 4),
    tax          numeric(18, 4),
    gross        numeric(18, 4),
    rate         numeric(20, 10),
    rate_day     date,
    source       text,
    raw          jsonb not null,
    matched_at   timestamptz,
    booked_at    timestamptz
);
-- a supplier's invoice number is booked once, whoever sends it how often
create unique index supplier_invoices_booked on supplier_invoices (supplier, lower(number)) where matched_at is not null;
create index supplier_invoices_alike on supplier_invoices (supplier, lower(number));
create index supplier_invoices_by_order on supplier_invoices (order_id);

create table supplier_invoice_lines (
    case_id     bigint not null references supplier_invoices,
    line        integer not null check (line > 0),
    order_line  integer,
    item        text,
    description text,
    quantity    numeric(18, 4) not null check (quantity > 0),
    unit_price  numeric(18, 4) not null,
    tax_rate    numeric(6, 4) not null,
    net         numeric(18, 4) not null,
    tax         numeric(18, 4) not null,
    verdict     text,
    primary key (case_id, line)
);

-- double entry, in the company's currency and the document's; append-only, the sum of a document is zero
create table journal_lines (
    id          bigint generated always as identity primary key,
    case_id     bigint not null references supplier_invoices,
    line        integer not null,
    booked_on   date not null,
    document    text not null,
    supplier    text not null,
    account     text not null,
    cost_centre text,
    tax_code    text,
    debit       numeric(18, 2) not null default 0 check (debit >= 0),
    credit      numeric(18, 2) not null default 0 check (credit >= 0),
    currency    char(3) not null,
    document_amount   numeric(18, 4) not null,
    document_currency char(3) not null,
    text        text not null,
    unique (case_id, line),
    check ((debit = 0) <> (credit = 0))
);
create index journal_lines_by_day on journal_lines (booked_on, id);
create trigger journal_is_append_only before update or delete or truncate on journal_lines
    for each statement execute function refuse('the journal is put right by another entry');

create table report_purchase_facts (
    case_id       bigint primary key references cases,
    number        text not null,
    requested_on  date not null,
    department    text,
    cost_centre   text,
    category      text,
    supplier      text,
    amount        numeric(18, 2),
    booked        numeric(18, 2) not null default 0,
    outcome       text not null,
    approved_after interval,
    closed_after  interval
);
"""

DOWN = """
drop table report_purchase_facts, journal_lines, supplier_invoice_lines, supplier_invoices, goods_receipt_lines,
           goods_receipts;
"""


def upgrade() -> None:
    """Create the tables of receipts and invoices."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
