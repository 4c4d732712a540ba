"""A location holds no more than fits, whoever posts at the same instant; receipts of purchasing name their lots.

Whether something fits is looked at when it is posted, with the location's row held, so that those who fill the same
place go one after the other. Who takes from it, or posts at places without a capacity, waits for nobody.
"""

from __future__ import annotations

from alembic import op

revision = "0035"
down_revision = "0034"

UP = r"""
-- whether each lot of an item has a last day, which must be named when the lot comes
alter table stock_items add column expires boolean not null default false;
alter table stock_items add constraint only_lots_expire check (not expires or tracking <> 'none');

alter table goods_receipt_lines add column lot text check (lot <> ''), add column expires_on date;

-- Fires behind keep_balances, by its name. Places are held after balances, in one order for everybody.
create function keep_capacity() returns trigger language plpgsql
    set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
    set plan_cache_mode = force_generic_plan as $$
declare
    filled text[];
    overfull record;
begin
    filled := array(
        select l.code from (select distinct destination from written) w join stock_locations l on l.code = w.destination
        where l.capacity is not null and l.real);
    if filled = '{}' then
        return null;
    end if;
    -- what was found there, or never left, is there whether it fits or not
    filled := array(
        select c.location from (
            select w.destination as location, w.item, w.quantity from written w
            join stock_locations s on s.code = w.source
            where w.destination = any(filled) and s.kind <> 'adjustment' and w.reverses is null
            union all
            select w.source, w.item, -w.quantity from written w where w.source = any(filled)) c
        join stock_items i on i.code = c.item group by c.location having sum(c.quantity * i.volume) > 0);
    perform from stock_locations where code = any(filled) order by code for no key update;
    select l.code, trim_scale(l.capacity) as capacity, trim_scale(there.volume) as volume into overfull
    from stock_locations l cross join lateral (
        select sum(b.quantity * i.volume) as volume from stock_balances b join stock_items i on i.code = b.item
        where b.location = l.code and b.real and b.quantity > 0) there
    where l.code = any(filled) and there.volume > l.capacity order by l.code limit 1;
    if found then
        raise exception 'what comes does not fit into %: % m³ would be there, and its capacity is % m³',
            overfull.code, overfull.volume, overfull.capacity
            using errcode = 'check_violation', constraint = 'a_location_holds_no_more_than_fits';
    end if;
    return null;
end $$;
create trigger keep_capacity after insert on stock_movements
    referencing new table as written for each statement execute function keep_capacity();
"""

DOWN = """
drop trigger keep_capacity on stock_movements;
drop function keep_capacity();
alter table goods_receipt_lines drop column lot, drop column expires_on;
alter table stock_items drop column expires;
"""


def upgrade() -> None:
    """Keep places from being overfilled, and lots where receipts are read."""
    op.execute(UP)


def downgrade() -> None:
    """Look at capacity only before posting, and forget lots of receipts."""
    op.execute(DOWN)
