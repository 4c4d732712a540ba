"""Suppliers are found however their names' letters are written: "skoda" finds Škoda, and "ŠKODA" does."""

from __future__ import annotations

from alembic import op

revision = "0037"
down_revision = "0036"

# The letters are those that have no decomposition in Unicode, as in `include.data.normalise.text`.
UP = r"""
create function plain_letters(name text) returns text language sql immutable strict parallel safe return
    translate(regexp_replace(lower(normalize(name, nfkd)), '[\u0300-\u036f]', '', 'g'), 'øđðłħıŧ', 'oddlhit');

drop index purchase_requests_by_name, supplier_invoices_by_name;
create index purchase_requests_by_name on purchase_requests (plain_letters(supplier_name) collate "C", case_id)
    where supplier_name is not null;
create index supplier_invoices_by_name on supplier_invoices (plain_letters(supplier_name) collate "C", case_id)
    where supplier_name is not null;
"""

DOWN = """
drop index purchase_requests_by_name, supplier_invoices_by_name;
create index purchase_requests_by_name on purchase_requests (lower(supplier_name) collate "C", case_id)
    where supplier_name is not null;
create index supplier_invoices_by_name on supplier_invoices (lower(supplier_name) collate "C", case_id)
    where supplier_name is not null;
drop function plain_letters(text);
"""


def upgrade() -> None:
    """Create the function and the indexes by it."""
    op.execute(UP)


def downgrade() -> None:
    """Go back to names as they are written."""
    op.execute(DOWN)
