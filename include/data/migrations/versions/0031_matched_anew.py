"""Whom a lead was matched with before a correction changed by what it names somebody."""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"


def upgrade() -> None:
    """Remember it beside the contact."""
    op.execute("alter table leads add column former_contact_id uuid references directory_contacts")
    op.execute("create index leads_by_former_contact on leads (former_contact_id) where former_contact_id is not null")


def downgrade() -> None:
    """Forget it."""
    op.execute("alter table leads drop column former_contact_id")
