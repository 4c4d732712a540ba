"""The built-in ERP's products and stock, and the differences that reconciliation found."""

from __future__ import annotations

from alembic import op

revision = "0021"
down_revision = "0020"

UP = """
create table erp_products (
    key        text primary key check (key <> ''),
    record     jsonb not null default '{}',
    updated_at timestamptz not null default now()
);
-- what was moved without an order; receipts and returns are among the documents of their orders
create table erp_stock_documents (
    key        text primary key,
    kind       text not null,
    moved_on   date not null,
    document   jsonb not null,
    created_at timestamptz not null default now()
);
-- real places only; below zero where more left than the ERP knew of
create table erp_stock (
    location text not null,
    item     text not null,
    lot      text not null default '',
    quantity numeric(18, 6) not null,
    primary key (location, item, lot)
) with (fillfactor = 50);

-- one row a case of stock_difference: a place where the balances are not the ERP's, or all of them where they are many
create table stock_differences (
    case_id    bigint primary key references cases,
    scope      text not null check (scope in ('one', 'many')),
    found_on   date not null,
    file       text,
    decision   text check (decision in ('waybill', 'erp', 'accept')),
    reason     text,
    decided_by text,
    decisions  integer not null default 0,
    updated_at timestamptz not null default now()
);
create table stock_difference_lines (
    case_id  bigint not null references stock_differences,
    item     text not null,
    location text not null,
    lot      text not null default '',
    waybill  numeric(18, 6) not null,
    erp      numeric(18, 6) not null,
    primary key (case_id, item, location, lot)
);
create index stock_difference_lines_by_place on stock_difference_lines (item, location, lot);
"""

DOWN = """
drop table stock_difference_lines, stock_differences, erp_stock, erp_stock_documents, erp_products;
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
