"""The stock ledger: items, locations, lots, movements, and the balances that are kept with them.

The rules that must hold whatever any program does are here: a movement is never changed, what leaves one place arrives
at another, no stock goes below what is there and not reserved, a serial number is in one place, a closed period stays
closed, and a request moves once.
"""

from __future__ import annotations

from alembic import op

revision = "0015"
down_revision = "0014"

UP = r"""
create table stock_items (
    code          text primary key check (code <> ''),
    title         text not null,
    item_group    text not null,
    base_unit     text not null,
    decimals      smallint not null default 0 check (decimals between 0 and 6),
    tracking      text not null default 'none' check (tracking in ('none', 'lot', 'serial')),
    abc           char(1) not null default 'C' check (abc in ('A', 'B', 'C')),
    hazard        text,
    temperature   text,
    volume        numeric(18, 6) not null default 0 check (volume >= 0),
    standard_cost numeric(18, 6) check (standard_cost >= 0),
    active        boolean not null default true,
    learned_from  text,
    updated_at    timestamptz not null default now(),
    check (tracking <> 'serial' or decimals = 0)
);

-- one `unit` is numerator/denominator base units
create table stock_units (
    item        text not null references stock_items,
    unit        text not null,
    numerator   bigint not null check (numerator > 0),
    denominator bigint not null default 1 check (denominator > 0),
    primary key (item, unit)
);

-- as warehouse.yaml declares them; here so that the database itself can keep the rules
create table stock_locations (
    code        text primary key check (code <> ''),
    title       text not null,
    kind        text not null check (kind in ('internal', 'transit', 'supplier', 'customer', 'consumption', 'scrap',
                                              'adjustment')),
    site        text,
    negative    boolean not null default false,
    hazards     text[] not null default '{}',
    temperature text,
    capacity    numeric(18, 6) check (capacity > 0),
    active      boolean not null default true,
    real        boolean not null generated always as (kind in ('internal', 'transit')) stored
);

create table stock_lots (
    item       text not null references stock_items,
    lot        text not null check (lot <> ''),
    expires_on date,
    created_at timestamptz not null default now(),
    primary key (item, lot)
);

-- everything before this instant is closed; one row
create table stock_closing (
    one          boolean primary key default true check (one),
    closed_until timestamptz not null default '-infinity'
);
insert into stock_closing default values;

-- quantity goes from `source` to `destination`, so that all places of an item together always hold zero
create table stock_movements (
    id          bigint generated always as identity primary key,
    key         text not null unique check (key <> ''),
    kind        text not null check (kind <> ''),
    item        text not null,
    lot         text not null default '',
    source      text not null,
    destination text not null,
    quantity    numeric(18, 6) not null check (quantity > 0),
    unit_cost   numeric(18, 6) check (unit_cost >= 0),
    moved_at    timestamptz not null,
    case_id     bigint,
    line        integer,
    reverses    bigint,
    author      text not null default author(),
    posted_at   timestamptz not null default now(),
    check (source <> destination)
);
create index stock_movements_by_item on stock_movements (item, moved_at, id);
create unique index a_movement_is_reversed_once on stock_movements (reverses) where reverses is not null;
create index stock_movements_by_case on stock_movements (case_id) where case_id is not null;
create trigger stock_movements_are_append_only before update or delete or truncate on stock_movements
    for each statement execute function refuse('a movement is put right by another one that reverses it');

create table stock_balances (
    item     text not null references stock_items,
    location text not null references stock_locations,
    lot      text not null default '',
    quantity numeric(18, 6) not null default 0,
    reserved numeric(18, 6) not null default 0 check (reserved >= 0),
    real     boolean not null,
    negative boolean not null,
    serial   boolean not null,
    primary key (item, location, lot),
    constraint no_stock_below_what_is_reserved check (negative or quantity >= reserved),
    -- deferrable: looked at when a statement ends, for a number leaves one row and enters another within it
    constraint a_serial_number_is_in_one_place exclude using btree (item with =, lot with =)
        where (serial and real and quantity > 0) deferrable initially immediate,
    constraint a_serial_number_is_one check (not (serial and real) or quantity in (0, 1))
) with (fillfactor = 50);
create index stock_balances_by_location on stock_balances (location, item) where real and quantity <> 0;

create table stock_reservations (
    id         bigint generated always as identity primary key,
    case_id    bigint not null references cases,
    line       integer not null,
    item       text not null,
    location   text not null,
    lot        text not null default '',
    quantity   numeric(18, 6) not null check (quantity > 0),
    expires_at timestamptz not null,
    created_at timestamptz not null default now(),
    unique (case_id, line, item, location, lot),
    constraint a_reservation_is_at_a_known_place foreign key (item, location, lot) references stock_balances
);
create index stock_reservations_by_place on stock_reservations (item, location, lot);

-- what valuation has not looked at yet; only added to by those who post, so that nobody waits for valuation
create table stock_unvalued (
    item  text not null,
    since timestamptz not null
);
create index stock_unvalued_by_item on stock_unvalued (item);

-- Whoever posts holds this together with the others who post; whoever closes a period holds it alone.
create function hold_stock_period() returns timestamptz language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(hashtext('waybill.stock_closing'));
    return (select closed_until from stock_closing);
end $$;

-- Makes the balances of these places exist and holds them until the transaction ends, in one order for everybody.
-- The joins are told to look rows up: a plan kept from a single movement must serve a hundred thousand as well.
create function hold_stock(items text[], locations text[], lots text[]) returns void language plpgsql
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    set plan_cache_mode = force_generic_plan as $$
begin
    insert into stock_balances (item, location, lot, real, negative, serial)
    select w.item, w.location, w.lot, l.real, l.negative or not l.real, i.tracking = 'serial'
    from (select distinct * from unnest(items, locations, lots) as v(item, location, lot)) w
    join stock_items i on i.code = w.item join stock_locations l on l.code = w.location
    where not exists (select from stock_balances b
                      where b.item = w.item and b.location = w.location and b.lot = w.lot)
    order by w.item, w.location, w.lot
    on conflict (item, location, lot) do nothing;
    perform from (select distinct * from unnest(items, locations, lots) as v(item, location, lot)) w
    join stock_balances b on b.item = w.item and b.location = w.location and b.lot = w.lot
    order by b.item, b.location, b.lot for no key update of b;
end $$;

create function keep_balances() returns trigger language plpgsql
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    set plan_cache_mode = force_generic_plan as $$
declare
    closed timestamptz := hold_stock_period();
    wrong record;
begin
    select w.key, w.moved_at < closed as late into wrong from written w
    left join stock_items i on i.code = w.item
    left join stock_locations s on s.code = w.source left join stock_locations d on d.code = w.destination
    where w.moved_at < closed or i.code is null or s.code is null or d.code is null
       or (i.tracking = 'none') <> (w.lot = '') or w.quantity <> round(w.quantity, i.decimals)
       or (i.tracking = 'serial' and w.quantity <> 1) limit 1;
    if wrong.late then
        raise exception 'movement %: the period until % is closed, date the movement after it', wrong.key, closed
            using errcode = 'check_violation', constraint = 'a_closed_period_stays_closed';
    elsif found then
        raise exception 'movement %: its item or a place is unknown, or its lot or quantity does not suit the item',
            wrong.key using errcode = 'check_violation', constraint = 'a_movement_fits_its_item';
    end if;
    -- inside of post_stock they are held already
    if coalesce(current_setting('waybill.stock_held', true), '') = '' then
        perform hold_stock(array_agg(item), array_agg(location), array_agg(lot)) from (
            select item, source as location, lot from written union select item, destination, lot from written) w;
    end if;
    update stock_balances b set quantity = b.quantity + c.change from (
        select item, location, lot, sum(change) as change from (
            select item, source as location, lot, -quantity as change from written
            union all select item, destination, lot, quantity from written) w
        group by item, location, lot) c
    where b.item = c.item and b.location = c.location and b.lot = c.lot and c.change <> 0;
    insert into stock_unvalued (item, since)
    select w.item, min(w.moved_at) from written w
    join stock_locations s on s.code = w.source join stock_locations d on d.code = w.destination
    where s.real <> d.real group by w.item;
    return null;
end $$;
create trigger keep_balances after insert on stock_movements
    referencing new table as written for each statement execute function keep_balances();

-- Posts movements, and leaves those whose key was posted before. Holds all places first: whoever wrote a key and then
-- waited for a place could meet somebody who holds the place and waits for the key.
create function post_stock(keys text[], kinds text[], items text[], lots text[], sources text[], destinations text[],
                           quantities numeric[], unit_costs numeric[], moments timestamptz[], case_ids bigint[],
                           lines integer[], reversed bigint[]) returns integer language plpgsql
    set plan_cache_mode = force_generic_plan as $$
declare
    posted integer;
begin
    perform hold_stock_period();
    perform hold_stock(items || items, sources || destinations, lots || lots);
    perform set_config('waybill.stock_held', 'yes', true);
    insert into stock_movements (key, kind, item, lot, source, destination, quantity, unit_cost, moved_at, case_id,
                                 line, reverses)
    select * from unnest(keys, kinds, items, lots, sources, destinations, quantities, unit_costs, moments, case_ids,
                         lines, reversed) as v(key) order by v.key
    on conflict (key) do nothing;
    get diagnostics posted = row_count;
    perform set_config('waybill.stock_held', '', true);
    return posted;
end $$;

-- a reservation is made and ended, never changed
create function keep_reserved() returns trigger language plpgsql
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    set plan_cache_mode = force_generic_plan as $$
declare
    sign numeric := 1;
    changed stock_reservations[];
begin
    if tg_op = 'INSERT' then
        changed := (select array_agg(c) from created c);
    else
        changed := (select array_agg(e) from ended e);
        sign := -1;
    end if;
    perform hold_stock(array_agg(item), array_agg(location), array_agg(lot)) from unnest(changed);
    update stock_balances b set reserved = b.reserved + sign * c.quantity from (
        select item, location, lot, sum(quantity) as quantity from unnest(changed) group by item, location, lot) c
    where b.item = c.item and b.location = c.location and b.lot = c.lot;
    return null;
end $$;
create trigger keep_reserved after insert on stock_reservations
    referencing new table as created for each statement execute function keep_reserved();
create trigger keep_released after delete on stock_reservations
    referencing old table as ended for each statement execute function keep_reserved();
create trigger reservations_are_ended_not_changed before update or truncate on stock_reservations
    for each statement execute function refuse('a reservation is ended and made anew');

-- a balance follows what happens; only `include.stock.check.rebuild` writes it by itself
create function keep_out() returns trigger language plpgsql as $$
begin
    raise exception '% on stock_balances is refused: post a movement, or make a reservation', tg_op;
end $$;
create trigger balances_follow_movements before update or delete on stock_balances for each statement
    when (pg_trigger_depth() = 0 and coalesce(current_setting('waybill.rebuilding', true), '') = '')
    execute function keep_out();
create trigger balances_begin_at_zero before insert on stock_balances for each row
    when ((new.quantity <> 0 or new.reserved <> 0) and coalesce(current_setting('waybill.rebuilding', true), '') = '')
    execute function keep_out();
create trigger balances_never_vanish before truncate on stock_balances for each statement execute function keep_out();

-- a declaration that takes away "may be negative" holds only where nothing is negative
create function follow_location() returns trigger language plpgsql as $$
begin
    if new.kind <> old.kind and exists (select from stock_balances where location = new.code) then
        raise exception 'the location % is in use and stays %: declare another one', new.code, old.kind;
    end if;
    update stock_balances set negative = new.negative or not new.real where location = new.code;
    return null;
end $$;
create trigger follow_location after update on stock_locations for each row
    when (old.negative <> new.negative or old.kind <> new.kind) execute function follow_location();

-- what an item is counted in, and by what it is told apart, cannot change once it moved
create function keep_item() returns trigger language plpgsql as $$
begin
    if exists (select from stock_movements where item = new.code) then
        raise exception 'the item % has moved: its unit, its decimals and its tracking stay as they are', new.code
            using errcode = 'check_violation', constraint = 'an_item_that_moved_stays_what_it_is';
    end if;
    return new;
end $$;
create trigger keep_item before update on stock_items for each row
    when ((old.base_unit, old.decimals, old.tracking) is distinct from (new.base_unit, new.decimals, new.tracking))
    execute function keep_item();

-- what the movements say, to hold against what was kept
create view stock_rebuilt as
select item, location, lot, sum(quantity) as quantity from (
    select item, source as location, lot, -quantity as quantity from stock_movements
    union all select item, destination, lot, quantity from stock_movements) m
group by item, location, lot;

create function end_reservations() returns trigger language plpgsql as $$
begin
    delete from stock_reservations where case_id = new.id;
    return null;
end $$;
create trigger what_ends_reserves_nothing after update on cases for each row
    when (new.workflow = 'stock_request' and new.state in ('finished', 'rejected') and old.state <> new.state)
    execute function end_reservations();
"""

DOWN = """
drop trigger what_ends_reserves_nothing on cases;
drop view stock_rebuilt;
drop table stock_unvalued, stock_reservations, stock_balances, stock_movements, stock_closing, stock_lots,
           stock_locations, stock_units, stock_items cascade;
drop function end_reservations(), keep_item(), follow_location(), keep_out(), keep_reserved(), keep_balances(),
              post_stock(text[], text[], text[], text[], text[], text[], numeric[], numeric[], timestamptz[], bigint[],
                         integer[], bigint[]),
              hold_stock(text[], text[], text[]), hold_stock_period();
"""


def upgrade() -> None:
    """Create the stock ledger."""
    op.execute(UP)


def downgrade() -> None:
    """Remove it."""
    op.execute(DOWN)
