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
    run_id       text not null unique,
    state        text not null default 'open'
                 check (state in ('open', 'approved', 'rejected', 'asked', 'withdrawn', 'void', 'expired')),
    opened_at    timestamptz not null default now(),
    closed_at    timestamptz,
    concluded_at timestamptz,
    unique (case_id, number),
    check ((state in ('open', 'asked')) = (closed_at is null))
);
create unique index approval_rounds_open on approval_rounds (case_id) where state in ('open', 'asked');
create index approval_rounds_to_conclude on approval_rounds (closed_at) where concluded_at is null;

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
    remind_at    timestamptz,
    escalate_at  timestamptz,
    expires_at   timestamptz,
    unique (round_id, number),
    check ((state = 'planned') = (opened_at is null) or state = 'closed')
);

-- who may decide a stage; escalation adds seats, and takes none away
create table approval_seats (
    stage_id bigint not null references approval_stages,
    person   text not null,
    via      text not null check (via in ('policy', 'escalation')),
    added_at timestamptz not null default now(),
    primary key (stage_id, person)
);
create index approval_seats_by_person on approval_seats (person);

create table approval_decisions (
    id        bigint generated always as identity primary key,
    round_id  bigint not null references approval_rounds,
    stage_id  bigint references approval_stages,
    person    text not null check (person <> ''),
    seat      text,
    answer    text not null check (answer in ('approve', 'reject', 'ask', 'answer', 'withdraw')),
    route     text not null check (route in ('airflow', 'slack', 'page')),
    account   text not null,
    comment   text,
    digest    text not null check (digest ~ '^[0-9a-f]{64}$'),
    at        timestamptz not null default clock_timestamp(),
    check ((answer in ('approve', 'reject', 'ask')) = (stage_id is not null and seat is not null)),
    check (answer in ('approve', 'withdraw') or coalesce(comment, '') <> '')
);
create unique index one_decision_a_seat on approval_decisions (stage_id, seat) where answer in ('approve', 'reject');
create unique index one_decision_a_person on approval_decisions (stage_id, person) where answer in ('approve', 'reject');
create index approval_decisions_by_round on approval_decisions (round_id, id);
create trigger decisions_are_append_only before update or delete or truncate on approval_decisions
    for each statement execute function refuse('a decision stands as it was given');

-- the database's own word on self-approval: no path of any program can go around it
create function refuse_self_approval() returns trigger language plpgsql as $$
begin
    if new.answer in ('approve', 'reject', 'ask') and exists (
        select from approval_rounds where id = new.round_id and requester in (new.person, new.seat)) then
        raise exception 'nobody decides on their own request';
    end if;
    return new;
end $$;
create trigger nobody_approves_their_own before insert on approval_decisions
    for each row execute function refuse_self_approval();

-- somebody stands in for somebody else, first and last day included
create table delegations (
    id         bigint generated always as identity primary key,
    person     text not null check (person <> ''),
    deputy     text not null check (deputy <> person),
    starts     date not null,
    ends       date not null,
    reason     text not null check (reason <> ''),
    actor      text not null,
    at         timestamptz not null default now(),
    ended_at   timestamptz,
    check (ends >= starts)
);
create index delegations_by_person on delegations (person, ends);
create index delegations_by_deputy on delegations (deputy, ends);
"""

DOWN = """
drop table delegations, approval_decisions, approval_seats, approval_stages, approval_rounds;
drop function refuse_self_approval();
"""


def upgrade() -> None:
    """Create the tables of approvals."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
