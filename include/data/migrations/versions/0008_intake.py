"""What the intake counts, and how it finds a delivery that has no id again."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"

UP = """
-- deliveries that were refused, counted; their bodies are not kept
create table intake_refusals (
    source  text not null,
    reason  text not null check (reason <> ''),
    day     date not null default (now() at time zone 'UTC')::date,
    count   bigint not null check (count > 0),
    last_at timestamptz not null default now(),
    primary key (source, reason, day)
);

create index deliveries_without_id on deliveries (source, digest, received_at) where key like 'sha256:%';
"""

DOWN = """
drop index deliveries_without_id;
drop table intake_refusals;
"""


def upgrade() -> None:
    """Create the count of refusals and the index for deliveries without an id."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
