"""Thousands of stock requests that end together let go of their stock together, and movements have one author.

Before, every case of a batch that ended ran three functions of its own, and every movement asked who its author is.
"""

from __future__ import annotations

from alembic import op

revision = "0036"
down_revision = "0035"

POST_STOCK = """
create or replace function post_stock(
    keys text[], kinds text[], items text[], lots text[], sources text[], destinations text[], quantities numeric[],
    unit_costs numeric[], moments timestamptz[], case_ids bigint[], lines integer[], reversed bigint[]
) returns integer language plpgsql set plan_cache_mode = force_generic_plan as $$
declare
    posted integer;
begin
    perform hold_stock_period();
    perform hold_stock(items || items, sources || destinations, lots || lots);
    perform set_config('waybill.stock_held', 'yes', true);
    insert into stock_movements (key, kind, item, lot, source, destination, quantity, unit_cost, moved_at, case_id,
                                 line, reverses{column})
    select v.*{author} from unnest(keys, kinds, items, lots, sources, destinations, quantities, unit_costs, moments,
                         case_ids, lines, reversed) as v(key) order by v.key
    on conflict (key) do nothing;
    get diagnostics posted = row_count;
    perform set_config('waybill.stock_held', '', true);
    return posted;
end $$;
"""

UP = (
    POST_STOCK.format(column=", author", author=", (select author())")
    + """
drop trigger stock_is_let_go on cases;
drop trigger what_ends_reserves_nothing on cases;
drop trigger wake_sheets_of_ended on cases;
drop function wake_for_stock(), end_reservations(), wake_sheets_of_ended();

-- What stock requests had reserved and did not take is there for those who wait for it at that place, and sheets look
-- again at which of their counts are still open. No join: a plan that is kept from a single case must serve thousands.
create function let_go_of_stock() returns trigger language plpgsql as $$
declare
    ended bigint[] := (
        select array_agg(id) from (
            select id from changed_to where workflow = 'stock_request' and state in ('finished', 'rejected')
            except select id from changed_from where state in ('finished', 'rejected')) e);
begin
    if ended is null then
        return null;
    end if;
    update cases set state = 'pending', available_at = now(), updated_at = now()
    where state = 'waiting' and stage = 'post' and id in (
        select l.case_id from stock_reservations v
        join stock_request_lines l on l.item = v.item and l.verdict = 'back_order'
        join stock_requests r on r.case_id = l.case_id and r.origin = v.location and r.posted_at is null
        where v.case_id = any(ended));
    delete from stock_reservations where case_id = any(ended);
    perform wake_sheets(array_agg(distinct sheet)) from stock_counts
    where case_id = any(ended) and sheet is not null having count(*) > 0;
    return null;
end $$;
create trigger stock_is_let_go after update on cases
    referencing old table as changed_from new table as changed_to
    for each statement execute function let_go_of_stock();
"""
)

DOWN = (
    POST_STOCK.format(column="", author="")
    + """
drop trigger stock_is_let_go on cases;
drop function let_go_of_stock();

create function wake_for_stock() returns trigger language plpgsql as $$
begin
    update cases set state = 'pending', available_at = now(), updated_at = now()
    where state = 'waiting' and stage = 'post' and id in (
        select l.case_id from stock_reservations v
        join stock_request_lines l on l.item = v.item and l.verdict = 'back_order'
        join stock_requests r on r.case_id = l.case_id and r.origin = v.location and r.posted_at is null
        where v.case_id = new.id);
    return null;
end $$;
create trigger stock_is_let_go after update on cases for each row
    when (new.workflow = 'stock_request' and new.state in ('finished', 'rejected') and old.state <> new.state)
    execute function wake_for_stock();
create function end_reservations() returns trigger language plpgsql as $$
begin
    delete from stock_reservations where case_id = new.id;
    return null;
end $$;
create trigger what_ends_reserves_nothing after update on cases for each row
    when (new.workflow = 'stock_request' and new.state in ('finished', 'rejected') and old.state <> new.state)
    execute function end_reservations();
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
)


def upgrade() -> None:
    """Let go in bulk."""
    op.execute(UP)


def downgrade() -> None:
    """Let go case by case."""
    op.execute(DOWN)
