"""Who got which lead how often, by what rule, and who must not be written to."""

from __future__ import annotations

from alembic import op

revision = "0007"
down_revision = "0006"

UP = """
-- one row a person: how many leads on `day`, and when in the order of all assignments the last one was
create table assignment_counters (
    person    text primary key check (person <> ''),
    day       date,
    assigned  integer not null default 0 check (assigned >= 0),
    last_turn bigint not null default 0 check (last_turn >= 0),
    constraint a_turn_has_a_day check ((day is null) = (last_turn = 0))
);

alter table leads add column assigned_by text
    check (assigned_by in ('turn', 'earlier_owner', 'stand_in', 'market_lead'));

-- those who said that they do not want mail, and addresses that do not take any; it outlives the lead
create table suppressions (
    email_key text primary key check (email_key <> ''),
    reason    text not null check (reason in ('unsubscribed', 'objected', 'bounced', 'complained', 'manual')),
    since     timestamptz not null default now()
);
"""


def upgrade() -> None:
    """Create the state of the assignment and the suppression list."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute("""
        drop table suppressions;
        alter table leads drop column assigned_by;
        drop table assignment_counters;""")
