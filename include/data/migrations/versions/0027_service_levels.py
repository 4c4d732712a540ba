"""Service levels: by when each case and each of its steps was to be done, and whether it was.

A row is worked out from the case's events alone, so it can be worked out again; once it has ended it does not change.
"""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0026"

UP = """
-- `step` is null for the whole case; `visit` counts how often the case came to the step, or was opened again.
-- A time that lies ahead is null while the clock stands. `on_case` tells that the case has this due time.
-- No reference to cases: to check it would wait for whoever works on the case, and cases never vanish.
create table service_levels (
    case_id       bigint not null,
    workflow      text not null check (workflow <> ''),
    step          text check (step <> ''),
    visit         integer not null check (visit >= 1),
    started_at    timestamptz not null,
    warn_at       timestamptz,
    due_at        timestamptz,
    escalate_at   timestamptz,
    ended_at      timestamptz,
    stopped       interval not null,
    stopped_since timestamptz,
    warned_at     timestamptz,
    missed_at     timestamptz,
    met_at        timestamptz,
    escalated_at  timestamptz,
    on_case       boolean not null,
    unique nulls not distinct (case_id, step, visit),
    constraint met_or_missed check (met_at is null or missed_at is null),
    constraint ended_means_met_or_missed check (ended_at is null or met_at is not null or missed_at is not null)
) with (fillfactor = 80);
create index service_levels_open on service_levels (warn_at) where ended_at is null;
create index service_levels_not_on_case on service_levels (case_id, visit) where step is null and not on_case;

-- met and missed by the week (from Monday, UTC) in which that was settled; kept right with every change of a fact
create table service_level_weeks (
    workflow text not null,
    step     text,
    week     date not null,
    met      bigint not null,
    missed   bigint not null,
    unique nulls not distinct (workflow, step, week)
);

create function count_service_levels() returns trigger language plpgsql as $$
begin
    insert into service_level_weeks as w (workflow, step, week, met, missed)
    select workflow, step, date_trunc('week', coalesce(met_at, missed_at) at time zone 'UTC')::date,
           count(met_at), count(missed_at)
    from now_so where coalesce(met_at, missed_at) is not null group by 1, 2, 3 order by 1, 2, 3
    on conflict (workflow, step, week) do update set met = w.met + excluded.met, missed = w.missed + excluded.missed;
    return null;
end $$;
create trigger count_new_service_levels after insert on service_levels
    referencing new table as now_so for each statement execute function count_service_levels();

create function recount_service_levels() returns trigger language plpgsql as $$
begin
    insert into service_level_weeks as w (workflow, step, week, met, missed)
    select workflow, step, date_trunc('week', coalesce(met_at, missed_at) at time zone 'UTC')::date,
           sum(sign * (met_at is not null)::int), sum(sign * (missed_at is not null)::int)
    from (select 1 as sign, * from now_so union all select -1, * from before) as changed
    where coalesce(met_at, missed_at) is not null group by 1, 2, 3 order by 1, 2, 3
    on conflict (workflow, step, week) do update set met = w.met + excluded.met, missed = w.missed + excluded.missed;
    return null;
end $$;
create trigger recount_service_levels after update on service_levels
    referencing old table as before new table as now_so for each statement execute function recount_service_levels();

-- Up to `seen_event` every event is measured. Transactions end in another order than events are numbered, so a newer
-- `next_event` takes its place once all transactions have ended that had begun when it was the newest.
create table service_level_looks (
    one        boolean primary key default true check (one),
    seen_event bigint not null default 0,
    next_event bigint not null default 0,
    next_xid   xid8 not null default '0'
);
insert into service_level_looks default values;
"""


def upgrade() -> None:
    """Create what service levels are kept in; the first look measures all that happened before."""
    op.execute(UP)


def downgrade() -> None:
    """Remove it; the cases keep their due times."""
    op.execute("""
        drop table service_level_looks, service_level_weeks, service_levels;
        drop function count_service_levels(), recount_service_levels();""")
