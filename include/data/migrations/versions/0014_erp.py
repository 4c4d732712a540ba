"""The built-in ERP: suppliers, orders, receipts and invoices in Waybill's own database."""

from __future__ import annotations

from alembic import op

revision = "0014"
down_revision = "0013"

UP = """
create table erp_suppliers (
    key        text primary key,
    record     jsonb not null default '{}',
    updated_at timestamptz not null default now()
);
create table erp_purchase_orders (
    key        text primary key,
    number     text not null unique,
    supplier   text not null references erp_suppliers,
    state      text not null default 'confirmed' check (state in ('confirmed', 'cancelled')),
    document   jsonb not null,
    created_at timestamptz not null default now()
);
create table erp_documents (
    key        text primary key,
    kind       text not null check (kind in ('receipt', 'return', 'invoice', 'credit_note')),
    number     text not null unique,
    order_key  text references erp_purchase_orders,
    document   jsonb not null,
    created_at timestamptz not null default now()
);
create index erp_documents_order on erp_documents (order_key);
-- A supplier's invoice is booked once, whoever brings it a second time.
create unique index erp_documents_invoice on erp_documents ((document->>'supplier'), lower(document->>'number'))
    where kind in ('invoice', 'credit_note');
"""


def upgrade() -> None:
    """Create the tables of the built-in ERP."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute("drop table erp_documents, erp_purchase_orders, erp_suppliers;")
