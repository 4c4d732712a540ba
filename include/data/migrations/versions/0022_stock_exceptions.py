"""The daily report of stock exceptions."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"

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
