"""Previews of reports: editions of an interval that is not over yet, counted apart from those that are final."""

from __future__ import annotations

from alembic import op

revision = "0033"
down_revision = "0032"

UP = """
alter table report_editions add column preview boolean not null default false;
alter table report_editions drop constraint report_editions_report_period_first_day_revision_key;
alter table report_editions add constraint one_of_each_revision
    unique (report, period, first_day, preview, revision);
create trigger previews_stay_previews before update of preview on report_editions
    for each statement execute function refuse('a preview stays one: the final figures are another edition');
"""

# A table that cannot tell them apart must not show previews as final editions.
DOWN = """
alter table report_editions disable trigger editions_never_vanish;
delete from report_editions where preview;
alter table report_editions enable trigger editions_never_vanish;
drop trigger previews_stay_previews on report_editions;
alter table report_editions drop constraint one_of_each_revision, drop column preview;
alter table report_editions add constraint report_editions_report_period_first_day_revision_key
    unique (report, period, first_day, revision);
"""


def upgrade() -> None:
    """Let an interval have previews beside its editions."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them; what was sent stays in the ledger."""
    op.execute(DOWN)
