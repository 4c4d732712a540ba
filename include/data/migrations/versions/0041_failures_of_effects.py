"""An effect knows when it last failed, so that a system that is down is told from one that failed before and works."""

from __future__ import annotations

from alembic import op

revision = "0041"
down_revision = "0040"


def upgrade() -> None:
    """Add the moment."""
    op.execute("alter table effects add column failed_at timestamptz")


def downgrade() -> None:
    """Remove it."""
    op.execute("alter table effects drop column failed_at")
