"""What a CRM said of a deal: the input of deal-to-client."""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"

UP = """
create table deal_changes (
    case_id     bigint primary key references cases,
    deal_id     uuid not null references deals,
    stage       text not null check (stage in ('won', 'lost')),
    amount      numeric(18, 2) check (amount >= 0),
    currency    char(3),
    reason      text,
    occurred_at timestamptz not null
);
create index deal_changes_by_deal on deal_changes (deal_id);
-- a CRM names a deal by its own id, which the ledger keeps as the answer to the effect that created it
create index effects_by_deal_id on effects ((answer->>'id')) where operation = 'upsert_deal' and state = 'sent';
"""


def upgrade() -> None:
    """Create the table of deal-to-client."""
    op.execute(UP)


def downgrade() -> None:
    """Remove it."""
    op.execute("drop index effects_by_deal_id; drop table deal_changes;")
