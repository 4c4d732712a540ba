"""Alerts: what is broken now, who is told, and what the telling itself stumbled over.

The messages are effects in the ledger; these tables hold what they are about. No personal data is kept here.
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"

UP = """
-- `version` rises with everything that the message should show; `told` is the version the ledger has;
-- `message` counts the messages posted for one alert: the second is a reminder after a long silence
create table alerts (
    id          bigint generated always as identity primary key,
    kind        text not null check (kind ~ '^[a-z_]+$'),
    fingerprint text not null check (fingerprint <> ''),
    workflow    text not null check (workflow <> ''),
    step        text,
    cause       text not null default '',
    dag_id      text,
    owner       text not null check (owner <> ''),
    channel     text not null check (channel <> ''),
    email       text not null check (email <> ''),
    state       text not null default 'open' check (state in ('open', 'resolved')),
    resolution  text,
    count       integer not null default 1 check (count >= 1),
    version     integer not null default 1 check (version >= 1),
    told        integer not null default 0 check (told <= version),
    message     integer not null default 1 check (message >= 1),
    message_at  timestamptz not null default now(),
    updated_at  timestamptz not null default now(),
    message_ref jsonb,
    update_key  text,
    facts       jsonb not null default '{}',
    seen_event  bigint not null default 0,
    first_at    timestamptz not null default now(),
    last_at     timestamptz not null default now(),
    resolved_at timestamptz,
    constraint resolved_means_when_and_why
        check ((state = 'resolved') = (resolved_at is not null and resolution is not null))
) with (fillfactor = 70);
create unique index alerts_open on alerts (fingerprint) where state = 'open';
create index alerts_untold on alerts (id) where told < version;

-- the same occurrence reported twice, by a callback that ran twice, is one
create table alert_occurrences (
    fingerprint text not null,
    occurrence  text not null check (occurrence <> ''),
    alert_id    bigint not null references alerts,
    run_id      text,
    at          timestamptz not null default now(),
    primary key (fingerprint, occurrence)
);
create index alert_occurrences_by_alert on alert_occurrences (alert_id);
create index alert_occurrences_by_run on alert_occurrences (run_id) where run_id is not null;

-- which case or effect an alert is about; `mark` tells this trouble from an earlier one with the same subject
create table alert_subjects (
    what       text not null check (what in ('case', 'effect')),
    subject_id bigint not null,
    mark       text not null,
    alert_id   bigint not null references alerts,
    primary key (what, subject_id, mark)
);
create index alert_subjects_by_alert on alert_subjects (alert_id, what, subject_id);

-- an alert that could not be raised or told must not fail in silence
create table alert_problems (
    id         bigint generated always as identity primary key,
    at         timestamptz not null default now(),
    part       text not null check (part <> ''),
    error      text not null check (error <> ''),
    detail     jsonb not null default '{}'
);
"""


def upgrade() -> None:
    """Create the tables of the alerts."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them; the messages stay in the ledger."""
    op.execute("drop table alert_problems, alert_subjects, alert_occurrences, alerts;")
