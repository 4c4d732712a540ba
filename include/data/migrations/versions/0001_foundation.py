"""Deliveries, cases, claims, events and the effect ledger.

What must never be wrong is refused here, by the database: a case without a state that makes sense, a change
without an author, an event that is changed, a delivery that is changed.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None

UP = """
create table deliveries (
    id           uuid primary key default uuidv7(),
    source       text not null check (source <> ''),
    workflow     text not null check (workflow <> ''),
    key          text not null check (key <> ''),
    digest       bytea not null check (length(digest) = 32),
    body         bytea not null,
    content_type text not null default 'application/json',
    received_at  timestamptz not null default now(),
    unique (source, key)
);
create index deliveries_by_time on deliveries (workflow, received_at);

create table claims (
    id          bigint generated always as identity primary key,
    workflow    text not null,
    run_id      text not null,
    claimed_at  timestamptz not null default now(),
    lease_until timestamptz not null
);

create table cases (
    id           bigint generated always as identity primary key,
    workflow     text not null check (workflow <> ''),
    key          text not null check (key <> ''),
    delivery_id  uuid unique references deliveries,
    parent_id    bigint references cases,
    state        text not null default 'pending'
                 check (state in ('pending', 'running', 'waiting', 'quarantined', 'finished', 'rejected')),
    stage        text not null check (stage <> ''),
    owner        text not null check (owner <> ''),
    due_at       timestamptz,
    outcome      text,
    reasons      jsonb,
    claim_id     bigint references claims,
    available_at timestamptz not null default now(),
    attempts     integer not null default 0 check (attempts >= 0),
    created_at   timestamptz not null default now(),
    updated_at   timestamptz not null default now(),
    closed_at    timestamptz,
    unique (workflow, key),
    constraint a_case_comes_from_somewhere check (delivery_id is not null or parent_id is not null),
    constraint running_means_claimed check ((state = 'running') = (claim_id is not null)),
    constraint closed_means_outcome
        check ((state in ('finished', 'rejected')) = (outcome is not null and closed_at is not null)),
    constraint quarantined_means_reasons
        check (state <> 'quarantined' or coalesce(jsonb_typeof(reasons) = 'array' and reasons <> '[]', false))
) with (fillfactor = 60);
create index cases_pending on cases (workflow, available_at, id) where state = 'pending';
create index cases_running on cases (claim_id) where state = 'running';
create index cases_set_aside on cases (workflow, id) where state in ('quarantined', 'waiting');
create index cases_by_parent on cases (parent_id) where parent_id is not null;
create index cases_by_time on cases (workflow, created_at);

create table events (
    id       bigint generated always as identity primary key,
    at       timestamptz not null default clock_timestamp(),
    case_id  bigint references cases,
    workflow text not null,
    kind     text not null check (kind <> ''),
    stage    text,
    state    text,
    actor    text not null check (actor <> ''),
    run_id   text,
    step     text,
    detail   jsonb
);
create index events_by_case on events (case_id, id);
create index events_by_kind on events (workflow, kind, at) where kind not in ('advanced', 'claimed', 'received');

-- what a person put right; the delivery itself stays as it was received
create table corrections (
    id      bigint generated always as identity primary key,
    case_id bigint not null references cases,
    field   text not null check (field <> ''),
    value   jsonb not null,
    actor   text not null check (actor <> ''),
    at      timestamptz not null default now()
);
create index corrections_by_case on corrections (case_id, id);

create table effects (
    id           bigint generated always as identity primary key,
    key          text not null unique check (key <> ''),
    system       text not null,
    operation    text not null,
    case_id      bigint references cases,
    step         text not null,
    target       text not null,
    payload      jsonb not null,
    mode         text not null check (mode in ('live', 'capture', 'shadow')),
    state        text not null default 'pending'
                 check (state in ('pending', 'sending', 'sent', 'failed', 'dead', 'unknown')),
    attempts     integer not null default 0 check (attempts >= 0),
    available_at timestamptz not null default now(),
    lease_until  timestamptz,
    answer       jsonb,
    error        text,
    created_at   timestamptz not null default now(),
    sent_at      timestamptz,
    constraint sent_means_answered check ((state = 'sent') = (sent_at is not null and answer is not null)),
    constraint sending_means_leased check ((state = 'sending') = (lease_until is not null)),
    constraint trouble_means_error check (state not in ('failed', 'dead', 'unknown') or error is not null)
) with (fillfactor = 60);
create index effects_by_case on effects (case_id, step);
create index effects_to_send on effects (system, operation, id) where state in ('pending', 'failed');
create index effects_to_settle on effects (system, operation, id) where state in ('sending', 'unknown');
create index effects_dead on effects (system, id) where state = 'dead';

-- who acts, as the transaction declared it
create function author() returns text language plpgsql stable as $$
declare actor text := current_setting('waybill.actor', true);
begin
    if coalesce(actor, '') = '' then
        raise exception 'a case was changed without an author: set waybill.actor in this transaction';
    end if;
    return actor;
end $$;

create function log_new_cases() returns trigger language plpgsql as $$
begin
    insert into events (case_id, workflow, kind, stage, state, actor, run_id, step, detail)
    select id, workflow, case when delivery_id is null then 'handed over' else 'received' end, stage, state, author(),
           nullif(current_setting('waybill.run', true), ''), nullif(current_setting('waybill.step', true), ''),
           case when parent_id is not null then jsonb_build_object('parent', parent_id) end
    from created;
    return null;
end $$;
create trigger log_new_cases after insert on cases
    referencing new table as created for each statement execute function log_new_cases();

-- The plan of a trigger is kept from its first execution, which may be over no rows: without this it is a nested loop
-- for ever, and a batch of 10,000 cases takes half a minute.
create function log_changed_cases() returns trigger language plpgsql set enable_nestloop = off as $$
begin
    insert into events (case_id, workflow, kind, stage, state, actor, run_id, step, detail)
    select n.id, n.workflow,
           case when n.state <> o.state then
                    case n.state when 'running' then 'claimed'
                                 when 'pending' then case when o.state = 'running' then 'put back' else 'released' end
                                 else n.state end
                when n.stage <> o.stage then 'advanced'
                when n.claim_id is distinct from o.claim_id then 'claimed'
                else 'changed' end,
           n.stage, n.state, author(),
           nullif(current_setting('waybill.run', true), ''), nullif(current_setting('waybill.step', true), ''),
           nullif(jsonb_strip_nulls(jsonb_build_object(
               'from', nullif(o.stage, n.stage),
               'outcome', case when n.state <> o.state then n.outcome end,
               'reasons', case when n.state = 'quarantined' and o.state <> 'quarantined' then
                    (select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('code', r->'code', 'field', r->'field')))
                     from jsonb_array_elements(n.reasons) as r) end,
               'owner', nullif(n.owner, o.owner))), '{}')
    from changed_from o join changed_to n using (id)
    where (o.state, o.stage, o.owner, o.outcome, o.claim_id)
          is distinct from (n.state, n.stage, n.owner, n.outcome, n.claim_id);
    return null;
end $$;
create trigger log_changed_cases after update on cases
    referencing old table as changed_from new table as changed_to
    for each statement execute function log_changed_cases();

-- what went wrong with an effect is part of the case's story; what went well is in the ledger
create function log_troubled_effects() returns trigger language plpgsql set enable_nestloop = off as $$
begin
    insert into events (case_id, workflow, kind, actor, run_id, step, detail)
    select n.case_id, split_part(n.key, '/', 1), 'effect ' || n.state,
           coalesce(nullif(current_setting('waybill.actor', true), ''), 'system:ledger'),
           nullif(current_setting('waybill.run', true), ''), n.step,
           jsonb_build_object('effect', n.id, 'system', n.system, 'operation', n.operation, 'attempts', n.attempts)
    from changed_from o join changed_to n using (id)
    where n.state in ('failed', 'dead', 'unknown') and (o.state, o.attempts) is distinct from (n.state, n.attempts);
    return null;
end $$;
create trigger log_troubled_effects after update on effects
    referencing old table as changed_from new table as changed_to
    for each statement execute function log_troubled_effects();

create function refuse() returns trigger language plpgsql as $$
begin
    raise exception '% on % is refused: %', tg_op, tg_table_name, tg_argv[0];
end $$;
create trigger events_are_append_only before update or delete or truncate on events
    for each statement execute function refuse('events are append-only');
create trigger deliveries_never_change before update or delete or truncate on deliveries
    for each statement execute function refuse('a delivery is kept exactly as it was received');
create trigger cases_never_vanish before delete or truncate on cases
    for each statement execute function refuse('a case is closed, never deleted');
create trigger effects_never_vanish before delete or truncate on effects
    for each statement execute function refuse('an effect is given up, never deleted');

-- received = finished + rejected + waiting + quarantined + in progress: difference is zero when nothing was lost
create view balance as
with received as (
    select workflow, count(*) as n from deliveries group by workflow
    union all
    select workflow, count(*) from cases where delivery_id is null group by workflow
), arrived as (
    select workflow, sum(n)::bigint as received from received group by workflow
), stood as (
    select workflow,
           count(*) filter (where state = 'finished') as finished,
           count(*) filter (where state = 'rejected') as rejected,
           count(*) filter (where state = 'waiting') as waiting,
           count(*) filter (where state = 'quarantined') as quarantined,
           count(*) filter (where state in ('pending', 'running')) as in_progress
    from cases group by workflow
)
select workflow, coalesce(received, 0) as received, coalesce(finished, 0) as finished,
       coalesce(rejected, 0) as rejected, coalesce(waiting, 0) as waiting,
       coalesce(quarantined, 0) as quarantined, coalesce(in_progress, 0) as in_progress,
       coalesce(received, 0) - coalesce(finished + rejected + waiting + quarantined + in_progress, 0) as difference
from arrived full join stood using (workflow);

create view case_timeline as
select c.id as case_id, d.received_at as at, 'delivery' as what, d.source as name, 'received' as result,
       'source:' || d.source as actor, null::text as run_id, jsonb_build_object('delivery', d.id) as detail
from cases c join deliveries d on d.id = c.delivery_id
union all
select case_id, at, 'event', kind, coalesce(stage, '') , actor, run_id, detail from events where case_id is not null
union all
select case_id, coalesce(sent_at, created_at), 'effect', system || '.' || operation, state, 'system:ledger', null,
       jsonb_strip_nulls(jsonb_build_object(
           'effect', id, 'target', target, 'mode', mode, 'answer', answer, 'error', error))
from effects where case_id is not null;
"""

DOWN = """
drop view case_timeline;
drop view balance;
drop table effects, corrections, events, cases, claims, deliveries;
drop function log_new_cases(), log_changed_cases(), log_troubled_effects(), refuse(), author();
"""


def upgrade() -> None:
    """Create the foundation that every workflow stands on."""
    op.execute(UP)


def downgrade() -> None:
    """Remove it."""
    op.execute(DOWN)
