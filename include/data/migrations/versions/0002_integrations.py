"""What processes share about outside systems: rate limits, circuits and OAuth credentials.

One row per limit, circuit or credential, changed by single statements; nothing here belongs to a case.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"

UP = """
-- a limit's theoretical arrival time (GCRA): when the next call would be due if calls came evenly
create table rate_limits (
    name         text primary key check (name <> ''),
    due_at       timestamptz not null,
    asked_at     timestamptz not null,
    paused_until timestamptz
) with (fillfactor = 50);

create table circuits (
    name        text primary key check (name <> ''),
    state       text not null default 'closed' check (state in ('closed', 'open', 'half_open')),
    failures    integer not null default 0 check (failures >= 0),
    openings    integer not null default 0 check (openings >= 0),
    retry_at    timestamptz,
    probe_until timestamptz,
    changed_at  timestamptz not null default now(),
    constraint open_means_retried check (state <> 'open' or retry_at is not null),
    constraint half_open_means_probed check (state <> 'half_open' or probe_until is not null)
) with (fillfactor = 50);

-- tokens are Fernet ciphertext; `seed` tells whether a person has connected the system anew
create table credentials (
    name          text primary key check (name <> ''),
    seed          bytea not null check (length(seed) = 32),
    access_token  bytea,
    refresh_token bytea,
    expires_at    timestamptz,
    generation    bigint not null default 0,
    leased_by     uuid,
    leased_until  timestamptz,
    refusal       text,
    updated_at    timestamptz not null default now(),
    constraint leased_means_both check ((leased_by is null) = (leased_until is null)),
    constraint token_means_expiry check ((access_token is null) = (expires_at is null))
) with (fillfactor = 50);
"""

DOWN = "drop table credentials, circuits, rate_limits;"


def upgrade() -> None:
    """Create the shared state of the clients of outside systems."""
    op.execute(UP)


def downgrade() -> None:
    """Remove it; clients start from an empty state, and refresh tokens must be entered again."""
    op.execute(DOWN)
