r"""Erasing personal data, also where nothing else may be changed.

Deliveries, events, rounds and decisions stay append-only but for one thing: a transaction that has written a row of
`erasures` may put the marker in the place of personal values. The database looks at each changed row by itself, so
neither a statement by hand nor a mistake of a program can write anything else there, or leave the erasure untold.
"""

from __future__ import annotations

from alembic import op

revision = "0030"
down_revision = "0029"

UP = r"""
-- what was erased when, by whom and why; the rows of one erasure are changed in the transaction that wrote it
create table erasures (
    id          bigint generated always as identity primary key,
    kind        text not null check (kind in ('request', 'deliveries', 'personal_data', 'events')),
    actor       text not null default author(),
    reason      text not null check (reason <> ''),
    run_id      text default nullif(current_setting('waybill.run', true), ''),
    cases       bigint[] not null default '{}',
    contacts    uuid[] not null default '{}',
    counts      jsonb not null,
    transaction xid8 not null default pg_current_xact_id(),
    at          timestamptz not null default clock_timestamp()
);
create index erasures_by_transaction on erasures (transaction);
create function of_this_transaction() returns trigger language plpgsql as $$
begin
    new.transaction := pg_current_xact_id();
    new.at := clock_timestamp();
    return new;
end $$;
create trigger an_erasure_is_of_its_transaction before insert on erasures
    for each row execute function of_this_transaction();
create trigger erasures_are_append_only before update or delete or truncate on erasures
    for each statement execute function refuse('what was erased stays told');

alter table cases add column erased_at timestamptz;
alter table deliveries add column erased_at timestamptz;
create index cases_to_erase on cases (workflow, closed_at) where closed_at is not null and erased_at is null;
create index deliveries_to_erase on deliveries (workflow, received_at) where erased_at is null;
create index events_by_time on events using brin (at);
create index deals_by_contact on deals (contact_id);
create index clients_by_contact on clients (contact_id);
create index crm_tasks_by_contact on crm_tasks (contact_key);
create index crm_deals_by_contact on crm_deals (contact_key);

-- each case tells of it; the rows of `events` count as they did before, and one more
create function log_erasure() returns trigger language plpgsql as $$
declare told jsonb := jsonb_build_object('erasure', new.id, 'kind', new.kind, 'reason', new.reason);
begin
    insert into events (case_id, workflow, kind, stage, state, actor, run_id, step, detail)
    select id, workflow, 'erased', stage, state, new.actor, new.run_id,
           nullif(current_setting('waybill.step', true), ''), told
    from cases where id = any(new.cases);
    if new.cases = '{}' then
        insert into events (workflow, kind, actor, run_id, detail)
        values ('privacy', 'erased', new.actor, new.run_id, told);
    end if;
    return null;
end $$;
create trigger log_erasure after insert on erasures for each row execute function log_erasure();

-- who is erased does not come back to life: nothing is left that a step could read
create trigger an_erased_case_stays_closed before update on cases for each row
    when (old.erased_at is not null and (new.state <> old.state or new.erased_at is null))
    execute function refuse('the personal data of this case were erased');

-- `old` with a marker in the place of each part that `pattern` matches
create function without_mentions(old text, pattern text) returns text language sql immutable parallel safe as $$
    select regexp_replace(old, pattern, '[erased]', 'gi')
$$;
create function without_mentions(old jsonb, pattern text) returns jsonb language plpgsql immutable parallel safe as $$
begin
    return case jsonb_typeof(old)
        when 'object' then (select coalesce(jsonb_object_agg(key, without_mentions(value, pattern)), '{}')
                            from jsonb_each(old))
        when 'array' then (select coalesce(jsonb_agg(without_mentions(value, pattern) order by n), '[]')
                           from jsonb_array_elements(old) with ordinality as v(value, n))
        when 'string' then to_jsonb(without_mentions(old #>> '{}', pattern))
        else old end;
end $$;
create function body_text(body bytea) returns text language plpgsql immutable parallel safe as $$
begin
    return convert_from(body, 'UTF8');
exception when others then
    return null; -- not a text: it can only be erased as a whole
end $$;

-- whether `new` is `old`, but for parts in whose place stands the marker
create function only_erased(old text, new text) returns boolean language sql immutable parallel safe as $$
    select new is not distinct from old or new is null
        or coalesce(old like replace(regexp_replace(new, '([\\%_])', '\\\1', 'g'), '[erased]', '%'), false)
$$;
create function only_erased(old jsonb, new jsonb) returns boolean language plpgsql immutable parallel safe as $$
begin
    if new is not distinct from old or new is null or new in ('null', '"[erased]"') then
        return true;
    elsif old is null or jsonb_typeof(old) <> jsonb_typeof(new) then
        return false;
    end if;
    return case jsonb_typeof(old)
        when 'string' then only_erased(old #>> '{}', new #>> '{}')
        when 'object' then (select count(*) from jsonb_object_keys(old)) = (select count(*) from jsonb_object_keys(new))
            and (select coalesce(bool_and(old ? key and only_erased(old->key, value)), true) from jsonb_each(new))
        when 'array' then jsonb_array_length(old) = jsonb_array_length(new)
            and (select coalesce(bool_and(only_erased(old->(n::int - 1), value)), true)
                 from jsonb_array_elements(new) with ordinality as v(value, n))
        else false end;
end $$;

create function refuse_unless_erasing() returns trigger language plpgsql as $$
begin
    if not exists (select from erasures where transaction = pg_current_xact_id() and at >= now()) then
        raise exception '% on % is refused: %', tg_op, tg_table_name, tg_argv[0];
    end if;
    return null;
end $$;
-- the columns of tg_argv may lose parts; all others stay
create function refuse_all_but_erasing() returns trigger language plpgsql as $$
declare
    before jsonb := to_jsonb(old);
    after jsonb := to_jsonb(new);
    name text;
begin
    foreach name in array tg_argv loop
        if not only_erased(before->name, after->name) then
            raise exception 'UPDATE on % is refused: an erasure only takes out of %, it adds nothing',
                tg_table_name, name;
        end if;
    end loop;
    if before - tg_argv is distinct from after - tg_argv then
        raise exception 'UPDATE on % is refused: an erasure changes nothing but %', tg_table_name, tg_argv;
    end if;
    return new;
end $$;
create function refuse_all_but_erasing_a_delivery() returns trigger language plpgsql as $$
begin
    if (old.id, old.source, old.workflow, old.key, old.digest, old.received_at)
           is distinct from (new.id, new.source, new.workflow, new.key, new.digest, new.received_at)
       or not (new.body = '{"erased": true}'
                   and new.content_type = 'application/json' and new.erased_at is not null
               or body_text(new.body) is not null and only_erased(body_text(old.body), body_text(new.body))
                   and new.content_type = old.content_type and new.erased_at is not distinct from old.erased_at) then
        raise exception 'UPDATE on deliveries is refused: an erasure only takes out of the body, it adds nothing';
    end if;
    return new;
end $$;

drop trigger deliveries_never_change on deliveries;
create trigger deliveries_never_change before delete or truncate on deliveries
    for each statement execute function refuse('a delivery is kept exactly as it was received');
create trigger deliveries_change_by_erasure before update on deliveries
    for each statement execute function refuse_unless_erasing('a delivery is kept exactly as it was received');
create trigger deliveries_only_lose before update on deliveries
    for each row execute function refuse_all_but_erasing_a_delivery();

drop trigger events_are_append_only on events;
create trigger events_are_append_only before delete or truncate on events
    for each statement execute function refuse('events are append-only');
create trigger events_change_by_erasure before update on events
    for each statement execute function refuse_unless_erasing('events are append-only');
create trigger events_only_lose before update on events
    for each row execute function refuse_all_but_erasing('detail', 'actor');

drop trigger decisions_are_append_only on approval_decisions;
create trigger decisions_are_append_only before delete or truncate on approval_decisions
    for each statement execute function refuse('a decision stands as it was given');
create trigger decisions_change_by_erasure before update on approval_decisions
    for each statement execute function refuse_unless_erasing('a decision stands as it was given');
create trigger decisions_only_lose before update on approval_decisions
    for each row execute function refuse_all_but_erasing('comment');

drop trigger rounds_keep_their_content on approval_rounds;
create trigger rounds_keep_their_content
    before update of case_id, workflow, number, requester, digest, policy on approval_rounds
    for each statement execute function refuse('what is asked for stays as it was asked; open another round');
create trigger what_was_shown_changes_by_erasure before update of title, shown on approval_rounds
    for each statement execute function refuse_unless_erasing(
        'what is asked for stays as it was asked; open another round');
create trigger what_was_shown_only_loses before update of title, shown on approval_rounds
    for each row execute function refuse_all_but_erasing('title', 'shown');
"""

DOWN = """
drop trigger what_was_shown_only_loses on approval_rounds;
drop trigger what_was_shown_changes_by_erasure on approval_rounds;
drop trigger rounds_keep_their_content on approval_rounds;
create trigger rounds_keep_their_content
    before update of case_id, workflow, number, requester, title, shown, digest, policy on approval_rounds
    for each statement execute function refuse('what is asked for stays as it was asked; open another round');
drop trigger decisions_only_lose on approval_decisions;
drop trigger decisions_change_by_erasure on approval_decisions;
drop trigger decisions_are_append_only on approval_decisions;
create trigger decisions_are_append_only before update or delete or truncate on approval_decisions
    for each statement execute function refuse('a decision stands as it was given');
drop trigger events_only_lose on events;
drop trigger events_change_by_erasure on events;
drop trigger events_are_append_only on events;
create trigger events_are_append_only before update or delete or truncate on events
    for each statement execute function refuse('events are append-only');
drop trigger deliveries_only_lose on deliveries;
drop trigger deliveries_change_by_erasure on deliveries;
drop trigger deliveries_never_change on deliveries;
create trigger deliveries_never_change before update or delete or truncate on deliveries
    for each statement execute function refuse('a delivery is kept exactly as it was received');
drop trigger an_erased_case_stays_closed on cases;
drop table erasures;
drop function of_this_transaction(), refuse_all_but_erasing_a_delivery(), refuse_all_but_erasing(),
              refuse_unless_erasing(), only_erased(jsonb, jsonb), only_erased(text, text), body_text(bytea),
              without_mentions(jsonb, text), without_mentions(text, text), log_erasure();
drop index crm_deals_by_contact, crm_tasks_by_contact, clients_by_contact, deals_by_contact, events_by_time,
           deliveries_to_erase, cases_to_erase;
alter table deliveries drop column erased_at;
alter table cases drop column erased_at;
"""


def upgrade() -> None:
    """Let personal values be erased, and nothing else."""
    op.execute(UP)


def downgrade() -> None:
    """Refuse it again; what was erased stays so, and is told by the events."""
    op.execute(DOWN)
