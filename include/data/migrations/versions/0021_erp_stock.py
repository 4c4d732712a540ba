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
"""

DOWN = """
drop table erp_stock, erp_stock_documents, erp_products;
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
