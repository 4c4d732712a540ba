"""Approvals: who was asked about what, who decided, and for whom somebody stands in."""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"

UP = """
-- one round of asking about one case; a change of content closes it as void and opens the next
create table approval_rounds (
    id           bigint generated always as identity primary key,
    case_id      bigint not null references cases,
    workflow     text not null,
    number       integer not null check (number > 0),
    requester    text not null check (requester <> ''),
    title        text not null,
    shown        jsonb not null,
    digest       text not null check (digest ~ '^[0-9a-f]{64}$'),
    policy       text not null,
    part         integer not null default 1 check (part > 0),
    run_id       text not null unique,
    opened_in    text default nullif(current_setting('waybill.run', true), ''),
    state        text not null default 'open'
                 check (state in ('open', 'approved', 'rejected', 'asked', 'withdrawn', 'void', 'expired')),
    opened_at    timestamptz not null default now(),
    closed_at    timestamptz,
    concluded_at timestamptz,
    settled_at   timestamptz,
    unique (case_id, number),
    check ((state in ('open', 'asked')) = (closed_at is null))
);
create unique index approval_rounds_open on approval_rounds (case_id) where state in ('open', 'asked');
create index approval_rounds_by_opener on approval_rounds (opened_in);
create index approval_rounds_to_conclude on approval_rounds (closed_at)
    where concluded_at is null and closed_at is not null;

create table approval_stages (
    id           bigint generated always as identity primary key,
    round_id     bigint not null references approval_rounds,
    number       integer not null check (number > 0),
    rule         text not null,
    why          text not null,
    needed       integer not null check (needed > 0),
    within       interval not null,
    state        text not null default 'planned' check (state in ('planned', 'open', 'approved', 'closed')),
    opened_at    timestamptz,
    asked_at     timestamptz,
    due_at       timestamptz,
    remind_at    timestamptz,
    escalate_at  timestamptz,
    expires_at   timestamptz,
    unique (round_id, number),
    unique (id, round_id),
    check ((state = 'planned') = (opened_at is null) or state = 'closed')
);

create index approval_stages_open on approval_stages (round_id) where state = 'open';

-- who may decide a stage, in the order in which they are named; escalation adds seats, and takes none away
create table approval_seats (
    stage_id bigint not null references approval_stages,
    place    integer not null,
    person   text not null check (person <> ''),
    via      text not null check (via in ('policy', 'escalation')),
    added_at timestamptz not null default now(),
    primary key (stage_id, person)
);
create index approval_seats_by_person on approval_seats (person);

-- somebody stands in for somebody else, first and last day included
create table delegations (
    id         bigint generated always as identity primary key,
    person     text not null check (person <> ''),
    deputy     text not null check (deputy <> '' and deputy <> person),
    starts     date not null,
    ends       date not null,
    reason     text not null check (reason <> ''),
    actor      text not null check (actor <> ''),
    at         timestamptz not null default now(),
    ended_at   timestamptz,
    ended_by   text,
    check (ends >= starts),
    check ((ended_at is null) = (ended_by is null))
);
create index delegations_by_person on delegations (person, ends);
create index delegations_by_deputy on delegations (deputy, ends);

create table approval_decisions (
    id            bigint generated always as identity primary key,
    round_id      bigint not null references approval_rounds,
    stage_id      bigint,
    person        text not null check (person <> ''),
    seat          text,
    delegation_id bigint references delegations,
    answer        text not null check (answer in ('approve', 'reject', 'ask', 'answer', 'withdraw')),
    route         text not null check (route in ('airflow', 'slack', 'page')),
    account       text not null check (account <> ''),
    comment       text,
    digest        text not null check (digest ~ '^[0-9a-f]{64}$'),
    at            timestamptz not null default clock_timestamp(),
    foreign key (stage_id, round_id) references approval_stages (id, round_id),
    foreign key (stage_id, seat) references approval_seats (stage_id, person),
    check ((answer in ('approve', 'reject', 'ask')) = (stage_id is not null and seat is not null)),
    check ((stage_id is null) = (seat is null)),
    check ((coalesce(seat, person) <> person) = (delegation_id is not null)),
    check (answer in ('approve', 'withdraw') or coalesce(comment, '') <> '')
);
create unique index one_decision_a_seat on approval_decisions (stage_id, seat) where answer in ('approve', 'reject');
create unique index one_decision_a_person on approval_decisions (stage_id, person)
    where answer in ('approve', 'reject');
create index approval_decisions_by_round on approval_decisions (round_id, id);

-- each request of Slack acts once; kept for longer than its signature is good
create table slack_requests (
    signature bytea primary key,
    at        timestamptz not null default now()
);
create index slack_requests_by_time on slack_requests (at);

create trigger rounds_never_vanish before delete or truncate on approval_rounds
    for each statement execute function refuse('a round is closed, never deleted');
create trigger rounds_keep_their_content
    before update of case_id, workflow, number, requester, title, shown, digest, policy on approval_rounds
    for each statement execute function refuse('what is asked for stays as it was asked; open another round');
create trigger stages_never_vanish before delete or truncate on approval_stages
    for each statement execute function refuse('a stage is closed, never deleted');
create trigger stages_keep_their_content
    before update of round_id, number, rule, why, needed, within on approval_stages
    for each statement execute function refuse('a round keeps the stages under which it was asked');
create trigger seats_are_append_only before update or delete or truncate on approval_seats
    for each statement execute function refuse('a seat stays; escalation adds another one');
create trigger decisions_are_append_only before update or delete or truncate on approval_decisions
    for each statement execute function refuse('a decision stands as it was given');
create trigger delegations_never_vanish before delete or truncate on delegations
    for each statement execute function refuse('a delegation is ended, never deleted');
create trigger delegations_keep_their_content before update of person, deputy, starts, ends, reason on delegations
    for each statement execute function refuse('end this delegation and make another one');

-- the database's own word on self-approval: no path of any program can go around it
create function refuse_own_seat() returns trigger language plpgsql as $$
begin
    if exists (select from approval_stages s join approval_rounds r on r.id = s.round_id
               where s.id = new.stage_id and r.requester = new.person) then
        raise exception 'nobody is asked about their own request';
    end if;
    return new;
end $$;
create trigger nobody_is_asked_about_their_own before insert on approval_seats
    for each row execute function refuse_own_seat();

create function check_decision() returns trigger language plpgsql as $$
declare asked approval_rounds;
begin
    select * into asked from approval_rounds where id = new.round_id;
    if new.answer in ('approve', 'reject', 'ask') and asked.requester in (new.person, new.seat) then
        raise exception 'nobody decides on their own request';
    end if;
    if new.answer in ('answer', 'withdraw') and asked.requester <> new.person then
        raise exception 'only who asked may answer a question or withdraw';
    end if;
    if new.digest <> asked.digest then
        raise exception 'a decision is about what was shown: the digests differ';
    end if;
    if asked.state not in ('open', 'asked') then
        raise exception 'the round is %, and takes no decision', asked.state;
    end if;
    if new.delegation_id is not null and not exists (
        select from delegations d where d.id = new.delegation_id and d.ended_at is null
                                    and d.person = new.seat and d.deputy = new.person) then
        raise exception 'no delegation lets % decide for %', new.person, new.seat;
    end if;
    return new;
end $$;
create trigger decisions_are_checked before insert on approval_decisions
    for each row execute function check_decision();
"""

DOWN = """
drop table slack_requests;
drop table approval_decisions, delegations, approval_seats, approval_stages, approval_rounds;
drop function refuse_own_seat(), check_decision();
"""


def upgrade() -> None:
    """Create the tables of approvals."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
