"""Valuation: what each movement is worth, and the closing of periods."""

from __future__ import annotations

from alembic import op

revision = "0017"
down_revision = "0016"

# what is carried from one movement of an item to the next; `layers` are FIFO's: [[movement, quantity, value], ...]
STATE = """
    upto_at    timestamptz,
    upto_id    bigint,
    method     text not null default '' check (method in ('', 'moving_average', 'fifo')),
    quantity   numeric(24, 6) not null default 0,
    value      numeric(36, 6) not null default 0,
    known_cost numeric(24, 6),
    layers     jsonb not null default '[]'"""

UP = f"""
-- what a movement over the border of the company's places is worth; signed: what comes in adds to the stock's value
create table stock_values (
    movement_id bigint primary key,
    item        text not null,
    moved_at    timestamptz not null,
    unit_cost   numeric(24, 6) not null,
    value       numeric(36, 6) not null,
    variance    numeric(36, 6) not null default 0,
    uncosted    boolean not null default false
);

-- an item's value as far as it is computed; its row, as old as the item, is held by whoever computes
create table stock_valuations (
    item text primary key references stock_items,
    {STATE},
    unit_cost  numeric(24, 6),
    valued_at  timestamptz
);
insert into stock_valuations (item) select code from stock_items;
create function begin_valuations() returns trigger language plpgsql as $$
begin
    insert into stock_valuations (item) select code from created order by code;
    return null;
end $$;
create trigger begin_valuations after insert on stock_items
    referencing new table as created for each statement execute function begin_valuations();

-- where to begin again when something back-dated comes
create table stock_checkpoints (
    item text not null,
    {STATE},
    primary key (item, upto_at, upto_id)
);

-- a value that was told once and is another one now; `because` is the movement that came later and is dated before it
create table stock_revaluations (
    id              bigint generated always as identity primary key,
    movement_id     bigint not null,
    value_before    numeric(36, 6) not null,
    value_after     numeric(36, 6) not null,
    variance_before numeric(36, 6) not null,
    variance_after  numeric(36, 6) not null,
    because         bigint not null,
    revalued_at     timestamptz not null default now()
);
create index stock_revaluations_by_movement on stock_revaluations (movement_id);
create trigger revaluations_are_append_only before update or delete or truncate on stock_revaluations
    for each statement execute function refuse('what a value was before is kept');

-- a month that is closed, and how things stood when it ended
create table stock_periods (
    month     date primary key check (extract(day from month) = 1),
    ends_at   timestamptz not null unique,
    closed_at timestamptz not null default now(),
    closed_by text not null
);
create table stock_period_values (
    month date not null references stock_periods,
    item  text not null,
    {STATE},
    unit_cost numeric(24, 6),
    primary key (item, month)
);
create table stock_period_balances (
    month    date not null references stock_periods,
    item     text not null,
    location text not null,
    lot      text not null,
    quantity numeric(18, 6) not null,
    primary key (month, item, location, lot)
);
create trigger a_closed_month_stays before update or delete or truncate on stock_periods
    for each statement execute function refuse('a closed month stays closed');
create trigger a_closed_month_keeps_its_values before update or delete or truncate on stock_period_values
    for each statement execute function refuse('a closed month stays closed');
create trigger a_closed_month_keeps_its_balances before update or delete or truncate on stock_period_balances
    for each statement execute function refuse('a closed month stays closed');

create function keep_closing() returns trigger language plpgsql as $$
begin
    raise exception 'a period that is closed until % is not opened again', old.closed_until
        using errcode = 'check_violation', constraint = 'a_closed_period_stays_closed';
end $$;
create trigger keep_closing before update on stock_closing for each row
    when (new.closed_until < old.closed_until) execute function keep_closing();
create trigger closing_stays before delete or truncate on stock_closing
    for each statement execute function refuse('a closed period stays closed');

-- no value of a closed period is written or changed
create function keep_closed_values() returns trigger language plpgsql as $$
declare
    closed timestamptz := (select closed_until from stock_closing);
begin
    if exists (select from written where moved_at < closed) then
        raise exception 'values until % are closed', closed
            using errcode = 'check_violation', constraint = 'a_closed_period_stays_closed';
    end if;
    return null;
end $$;
create trigger keep_closed_values after insert on stock_values
    referencing new table as written for each statement execute function keep_closed_values();
create trigger keep_closed_values_as_they_are after update on stock_values
    referencing old table as written for each statement execute function keep_closed_values();
create trigger values_stay before delete or truncate on stock_values
    for each statement execute function refuse('a movement has a value as long as it is there');
create function keep_what_is_valued() returns trigger language plpgsql as $$
begin
    raise exception 'a value belongs to its movement: only the value changes';
end $$;
create trigger keep_what_is_valued before update on stock_values for each row
    when ((old.movement_id, old.item, old.moved_at) is distinct from (new.movement_id, new.item, new.moved_at))
    execute function keep_what_is_valued();
"""

DOWN = """
drop trigger closing_stays on stock_closing;
drop trigger keep_closing on stock_closing;
drop trigger begin_valuations on stock_items;
drop table stock_period_balances, stock_period_values, stock_periods, stock_revaluations, stock_checkpoints,
           stock_valuations, stock_values;
drop function begin_valuations(), keep_what_is_valued(), keep_closed_values(), keep_closing();
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
