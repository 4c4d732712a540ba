"""A loss is kept as a win is: by the case that told of it, so that it is the person's, and with its first day."""

from __future__ import annotations

from alembic import op

revision = "0039"
down_revision = "0038"

UP = """
-- the first time that a deal was lost; it stays when the deal is lost once more, or won after all
alter table deals add column lost_at timestamptz;
update deals set lost_at = closed_at where state = 'lost';
alter table deals add constraint lost_deals_have_a_first_day check (state <> 'lost' or lost_at is not null);
create index deals_by_loss on deals (lost_at) where lost_at is not null;

insert into deal_changes (case_id, deal_id, stage, reason, occurred_at)
select d.closed_by, d.id, 'lost', d.reason, d.closed_at
from deals d join cases c on c.id = d.closed_by
where d.state = 'lost' and c.workflow = 'deal_to_client'
on conflict (case_id) do nothing;
"""

DOWN = """
delete from deal_changes where stage = 'lost';
alter table deals drop column lost_at;
"""


def upgrade() -> None:
    """Keep losses, and those that are known."""
    op.execute(UP)


def downgrade() -> None:
    """Keep only wins."""
    op.execute(DOWN)
