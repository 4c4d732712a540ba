"""What the quarantine pages look up by."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    """Find the cases of one reason, and the pairs that nobody or somebody decided about, without reading all others."""
    op.execute("create index cases_by_reason on cases using gin (reasons jsonb_path_ops) where state = 'quarantined'")
    op.execute("create index possible_duplicates_open on possible_duplicates (id) where state = 'open'")
    op.execute("create index possible_duplicates_decided on possible_duplicates (decided_at, id) where state <> 'open'")


def downgrade() -> None:
    """Remove it."""
    op.execute("drop index possible_duplicates_decided, possible_duplicates_open, cases_by_reason")
