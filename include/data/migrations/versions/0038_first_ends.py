"""A case that is sent through again keeps when it ended first, so that reports of that time stay as they were."""

from __future__ import annotations

from alembic import op

revision = "0038"
down_revision = "0037"

UP = """
-- null for a case that has ended once, or not yet
alter table cases add column first_closed_at timestamptz;
create index cases_by_first_close on cases (first_closed_at) where first_closed_at is not null;
"""

DOWN = """
drop index cases_by_first_close;
alter table cases drop column first_closed_at;
"""


def upgrade() -> None:
    """Add the moment."""
    op.execute(UP)


def downgrade() -> None:
    """Forget it: such a case ended when it ended last."""
    op.execute(DOWN)
