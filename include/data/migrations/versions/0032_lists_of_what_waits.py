"""Indexes for lists of what waits: rounds of approval in the order in which they wait, and what is late, read alone."""

from __future__ import annotations

from alembic import op

revision = "0032"
down_revision = "0031"

# Columns that change together with what these were indexed by before, so that writing touches no further index entry:
# a stage is opened and closed once, and a due time moves with its warning.
UP = """
create index approval_stages_waiting on approval_stages (opened_at, round_id) where state = 'open';
create index approval_rounds_asked on approval_rounds (id) where state = 'asked';
drop index service_levels_open;
create index service_levels_open on service_levels (warn_at) include (due_at, workflow, case_id)
    where ended_at is null;
"""

DOWN = """
drop index service_levels_open, approval_rounds_asked, approval_stages_waiting;
create index service_levels_open on service_levels (warn_at) where ended_at is null;
"""


def upgrade() -> None:
    """Create them."""
    op.execute(UP)


def downgrade() -> None:
    """Go back to the index that was."""
    op.execute(DOWN)
