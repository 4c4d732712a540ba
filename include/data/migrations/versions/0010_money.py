"""Exchange rates by day, and budgets whose sums the database keeps and guards."""

from __future__ import annotations

from alembic import op

revision = "0010"
down_revision = "0009"

UP = """
-- one unit of `base` is `rate` units of `currency`, on that day
create table exchange_rates (
    day      date not null,
    base     char(3) not null,
    currency char(3) not null,
    rate     numeric(20, 10) not null check (rate > 0),
    source   text not null check (source <> ''),
    primary key (base, currency, day),
    check (base <> currency)
);

-- money of one cost centre for one category in one period; amounts in the company's currency
create table budgets (
    id          bigint generated always as identity primary key,
    cost_centre text not null,
    category    text not null,
    starts      date not null,
    ends        date not null,
    amount      numeric(18, 2) not null check (amount >= 0),
    currency    char(3) not null,
    committed   numeric(18, 2) not null default 0 check (committed >= 0),
    consumed    numeric(18, 2) not null default 0,
    entered_by  text default nullif(current_setting('waybill.actor', true), ''),
    entered_at  timestamptz not null default now(),
    unique (cost_centre, category, starts),
    check (ends >= starts) -- both days belong to it
);

-- what moved a budget: append-only, and `budgets` always holds its sums
create table budget_entries (
    id         bigint generated always as identity primary key,
    budget_id  bigint not null references budgets,
    case_id    bigint not null references cases,
    key        text not null unique check (key <> ''),
    kind       text not null check (kind in ('commit', 'release', 'consume')),
    committed  numeric(18, 2) not null default 0,
    consumed   numeric(18, 2) not null default 0,
    over       boolean not null default false,
    actor      text not null default author(),
    at         timestamptz not null default now(),
    check (kind <> 'commit' or (committed >= 0 and consumed = 0)),
    check (kind <> 'release' or (committed <= 0 and consumed = 0))
);
create index budget_entries_by_budget on budget_entries (budget_id, id);
create index budget_entries_by_case on budget_entries (case_id);
create trigger budget_entries_are_append_only before update or delete or truncate on budget_entries
    for each statement execute function refuse('a movement of a budget is put right by another one');

create function sum_up_budgets() returns trigger language plpgsql as $$
begin
    update budgets set committed = budgets.committed + moved.committed, consumed = budgets.consumed + moved.consumed
    from (select budget_id, sum(committed) as committed, sum(consumed) as consumed from added group by budget_id) moved
    where budgets.id = moved.budget_id;
    return null;
end $$;
create trigger budgets_hold_the_sums after insert on budget_entries referencing new table as added
    for each statement execute function sum_up_budgets();
create trigger budgets_move_by_entries before update of committed, consumed on budgets
    for each row when (pg_trigger_depth() = 0)
    execute function refuse('only an entry moves the sums of a budget');
"""


def upgrade() -> None:
    """Create the tables of money."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute("drop table budget_entries, budgets, exchange_rates; drop function sum_up_budgets();")
