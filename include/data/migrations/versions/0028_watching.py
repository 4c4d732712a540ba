"""What no callback tells: signs of life, backlogs over time; alerts that are quiet for a while; maintenance windows."""

from __future__ import annotations

from alembic import op

revision = "0028"
down_revision = "0027"

UP = """
-- when each part was last seen alive: parts of Airflow, the look for trouble, the watchdog, the canary, and so on
create table life_signs (
    part   text primary key check (part <> ''),
    at     timestamptz not null default now(),
    detail jsonb not null default '{}'
);

-- how much waited at each look; kept for a day
create table backlog_samples (
    at      timestamptz not null default now(),
    what    text not null check (what in ('cases', 'effects')),
    name    text not null check (name <> ''),
    waiting integer not null check (waiting >= 0),
    primary key (what, name, at)
);
create index backlog_samples_by_time on backlog_samples (at);

create index claims_by_time on claims (workflow, claimed_at);
create index effects_by_sending on effects (system, sent_at) where state = 'sent';

-- Quiet is never for ever. `shown` tells an alert that began in a maintenance window, and was told to nobody yet.
alter table alerts
    add column quiet text check (quiet in ('acknowledged', 'snoozed', 'maintenance')),
    add column quiet_until timestamptz,
    add column shown boolean not null default true,
    add constraint quiet_has_an_end check ((quiet is null) = (quiet_until is null));

create table maintenance_windows (
    id        bigint generated always as identity primary key,
    what      text not null check (what in ('workflow', 'system')),
    name      text not null check (name <> ''),
    reason    text not null check (reason <> ''),
    actor     text not null check (actor <> ''),
    made_at   timestamptz not null default now(),
    starts_at timestamptz not null,
    ends_at   timestamptz not null,
    constraint a_window_has_an_end_and_is_no_way_of_life check (
        ends_at >= starts_at and ends_at <= starts_at + interval '14 days')
);
create index maintenance_windows_by_end on maintenance_windows (ends_at);

-- who did what about alerts; the only place where a window that was changed shows what it was
create table alert_actions (
    id        bigint generated always as identity primary key,
    at        timestamptz not null default now(),
    alert_id  bigint references alerts,
    window_id bigint references maintenance_windows,
    action    text not null
              check (action in ('acknowledged', 'snoozed', 'spoke again', 'window opened', 'window ended')),
    actor     text not null check (actor <> ''),
    reason    text not null check (reason <> ''),
    until     timestamptz,
    constraint about_one_thing check ((alert_id is null) <> (window_id is null)),
    constraint quiet_until_when check ((action in ('acknowledged', 'snoozed', 'window opened')) = (until is not null))
);
create index alert_actions_by_alert on alert_actions (alert_id, id);
create trigger alert_actions_are_append_only before update or delete or truncate on alert_actions
    for each statement execute function refuse('what was done about alerts is append-only');
"""


def upgrade() -> None:
    """Create them."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them; what was quiet speaks again."""
    op.execute("""
        drop table alert_actions, maintenance_windows, backlog_samples, life_signs;
        alter table alerts drop column quiet, drop column quiet_until, drop column shown;
        drop index claims_by_time, effects_by_sending;""")
