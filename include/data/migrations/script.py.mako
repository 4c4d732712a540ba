"""${message}."""

from __future__ import annotations

from alembic import op

revision = "${up_revision}"
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Say what becomes possible."""
    op.execute("""""")


def downgrade() -> None:
    """Take it back."""
    op.execute("""""")
