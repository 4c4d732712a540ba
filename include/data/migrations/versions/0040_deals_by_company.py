"""Deals and their clients are found by the beginning of the company's name."""

from __future__ import annotations

from alembic import op

revision = "0040"
down_revision = "0039"

UP = """
create index directory_companies_by_name on directory_companies (name_key collate "C", id) where name_key is not null;
create index deals_by_company on deals (company_id) where company_id is not null;
"""

DOWN = """
drop index directory_companies_by_name, deals_by_company;
"""


def upgrade() -> None:
    """Create the indexes."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
