"""Counts, and the sheets that say what is to be counted where, by whom."""

from __future__ import annotations

from alembic import op

revision = "0019"
down_revision = "0018"

UP = """
-- what was counted at a place, as far as it is known to be right; settled once its difference is posted
create table stock_counts (
    case_id    bigint not null references cases,
    line       integer not null,
    sheet      text,
    item       text not null,
    location   text not null,
    lot        text not null default '',
    counted    numeric(18, 6) not null check (counted >= 0),
    counted_at timestamptz not null,
    expected   numeric(18, 6) not null,
    superseded boolean not null default false,
    difference numeric(18, 6) not null generated always as (
                   case when superseded then 0 else counted - expected end) stored,
    settled_at timestamptz,
    primary key (case_id, line)
);
create index stock_counts_by_place on stock_counts (item, location, lot, counted_at);
create index stock_counts_by_sheet on stock_counts (sheet) where sheet is not null;
create trigger a_settled_count_stays before update or delete on stock_counts
    for each row when (old.settled_at is not null)
    execute function refuse('a settled count stays: count again');

-- one row a case of stock_count; after `due_at` it is overdue
create table count_sheets (
    case_id     bigint primary key references cases,
    number      text not null unique,
    location    text not null,
    counter     text not null,
    planned_for date not null,
    due_at      timestamptz not null,
    blind       boolean not null default true,
    updated_at  timestamptz not null default now()
);

-- `shown` is what the books held when the sheet was written, and null on a blind one
create table count_sheet_lines (
    case_id    bigint not null references count_sheets on delete cascade,
    line       integer not null check (line > 0),
    item       text not null,
    lot        text not null default '',
    class      char(1) not null check (class in ('A', 'B', 'C')),
    shown      numeric(18, 6),
    counted    numeric(18, 6),
    counted_at timestamptz,
    difference numeric(18, 6),
    primary key (case_id, line),
    unique (case_id, item, lot)
);
create index count_sheet_lines_by_item on count_sheet_lines (item);

-- a day is planned once for each location, whatever comes of it; `left_over` is due, and more than the day takes
create table count_plans (
    day        date not null,
    location   text not null,
    sheets     integer not null,
    left_over  integer not null,
    planned_at timestamptz not null default now(),
    primary key (day, location)
);

-- until when items were classified, so that going over a past month does not undo a later one
create table stock_classings (
    until         date primary key,
    since         date not null,
    classified_at timestamptz not null default now()
);

-- Where each line of a sheet stands: `settled`, `entered` (it waits for a decision, or for its difference to be posted)
-- or `open`. A count whose request ended without being posted says nothing.
create view count_progress as
select s.case_id, s.number, s.location, s.counter, s.planned_for, l.line, l.item, l.lot, l.class,
       c.counted, c.counted_at, c.difference, c.case_id as counted_by,
       case when c.case_id is null then 'open' when c.settled_at is null then 'entered' else 'settled' end as state
from count_sheets s join count_sheet_lines l using (case_id)
left join lateral (
    select c.* from stock_counts c join cases on cases.id = c.case_id
    where c.sheet = s.number and c.item = l.item and c.lot = l.lot and c.location = s.location
      and (c.settled_at is not null or cases.state not in ('finished', 'rejected'))
    order by c.counted_at desc, c.case_id desc, c.line desc limit 1) c on true;

-- A sheet that waits looks again when something on it was counted, or when a count of it ended. One that decides to
-- wait at this very moment is waited for first.
create function wake_sheets(numbers text[]) returns void language plpgsql as $$
declare
    found bigint[] := (select array_agg(case_id) from count_sheets where number = any(numbers));
begin
    if found is not null then
        perform from cases where id = any(found) order by id for update;
        update cases set state = 'pending', available_at = now(), updated_at = now()
        where id = any(found) and state = 'waiting';
    end if;
end $$;
create function wake_counted_sheets() returns trigger language plpgsql as $$
begin
    perform wake_sheets(array_agg(distinct sheet)) from changed where sheet is not null having count(*) > 0;
    return null;
end $$;
create trigger wake_sheets_counted after insert on stock_counts
    referencing new table as changed for each statement execute function wake_counted_sheets();
create trigger wake_sheets_settled after update on stock_counts
    referencing new table as changed for each statement execute function wake_counted_sheets();
create function wake_sheets_of_ended() returns trigger language plpgsql as $$
begin
    perform wake_sheets(array_agg(distinct sheet)) from stock_counts
    where case_id = new.id and sheet is not null having count(*) > 0;
    return null;
end $$;
create trigger wake_sheets_of_ended after update on cases for each row
    when (new.workflow = 'stock_request' and new.state in ('finished', 'rejected') and old.state <> new.state)
    execute function wake_sheets_of_ended();
"""

DOWN = """
drop trigger wake_sheets_of_ended on cases;
drop view count_progress;
drop table stock_classings, count_plans, count_sheet_lines, count_sheets, stock_counts;
drop function wake_sheets_of_ended(), wake_counted_sheets(), wake_sheets(text[]);
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
