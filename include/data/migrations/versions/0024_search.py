"""What cases are found and listed by: where they stand, who has them, and whom or what they are about."""

from __future__ import annotations

from alembic import op

revision = "0024"
down_revision = "0023"

UP = """
-- Neither holds the step: it changes ten times as often as the rest, and a case that only goes on touches no index.
create index cases_by_standing on cases (workflow, state, id);
create index cases_by_owner on cases (owner, id) where state in ('pending', 'running', 'waiting', 'quarantined');

create index leads_by_email on leads (email_key, case_id) where email_key is not null;
create index leads_by_unread_email on leads (lower(raw->>'email')) where email_key is null;
-- from behind, so that a number is found without its country's prefix
create index leads_by_phone on leads (reverse(phone) collate "C") where phone is not null;
create index leads_by_company on leads (company_key collate "C", case_id) where company_key is not null;
create index purchase_requests_by_email on purchase_requests (lower(supplier_email)) where supplier_email is not null;
create index purchase_requests_by_name on purchase_requests (lower(supplier_name) collate "C", case_id)
    where supplier_name is not null;
create index supplier_invoices_by_name on supplier_invoices (lower(supplier_name) collate "C", case_id)
    where supplier_name is not null;
create index supplier_invoices_by_number on supplier_invoices (number_key);
create index supplier_invoices_without_order on supplier_invoices (order_number) where order_id is null;
create index goods_receipts_by_number on goods_receipts (number_key);
create index goods_receipts_without_order on goods_receipts (order_number) where order_id is null;
create index stock_requests_by_requester on stock_requests (requester, case_id);
create index stock_requests_by_reference on stock_requests (lower(reference)) where reference is not null;
"""

DOWN = """
drop index cases_by_standing, cases_by_owner, leads_by_email, leads_by_unread_email, leads_by_phone, leads_by_company,
    purchase_requests_by_email, purchase_requests_by_name, supplier_invoices_by_name, supplier_invoices_by_number,
    supplier_invoices_without_order, goods_receipts_by_number, goods_receipts_without_order,
    stock_requests_by_requester, stock_requests_by_reference;
"""


def upgrade() -> None:
    """Create the indexes."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
