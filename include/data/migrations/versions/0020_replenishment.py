"""Rules of replenishment, and the needs that they found."""

from __future__ import annotations

from alembic import op

revision = "0020"
down_revision = "0019"

UP = """
-- how stock of an item at a place is replenished: by purchase of `supplier`, or by transfer of `from_location`
create table replenishment_rules (
    item           text not null references stock_items,
    location       text not null references stock_locations,
    method         text not null check (method in ('reorder_point', 'min_max', 'off')),
    supplier       text,
    from_location  text references stock_locations,
    supplier_item  text,
    unit_price     numeric(18, 4) check (unit_price >= 0),
    currency       char(3),
    tax_rate       numeric(6, 4) check (tax_rate >= 0 and tax_rate < 1),
    cost_centre    text,
    category       text,
    requester      text,
    min_quantity   numeric(18, 6) not null default 0 check (min_quantity >= 0),
    multiple       numeric(18, 6) check (multiple > 0),
    lead_time_days numeric(8, 2) check (lead_time_days >= 0),
    service_level  numeric(6, 5) not null default 0.95 check (service_level >= 0.5 and service_level < 1),
    minimum        numeric(18, 6) check (minimum >= 0),
    maximum        numeric(18, 6) check (maximum >= 0),
    review_days    integer not null default 7 check (review_days between 1 and 366),
    reorder_point  numeric(18, 6) check (reorder_point >= 0),
    author         text not null default author(),
    updated_at     timestamptz not null default now(),
    primary key (item, location),
    check (supplier is null or from_location is null),
    check (from_location <> location),
    check (maximum >= minimum),
    constraint min_max_has_both check (method <> 'min_max' or (minimum is not null and maximum is not null))
);

-- what a plan found to be needed, with the figures by which it did; `terms` are those that it is requested by
create table replenishment_needs (
    id            bigint generated always as identity primary key,
    case_id       bigint unique references cases,
    item          text not null references stock_items,
    location      text not null references stock_locations,
    from_location text references stock_locations,
    on_day        date not null,
    quantity      numeric(18, 6) not null check (quantity > 0),
    figures       jsonb not null,
    terms         jsonb,
    outcome       text,
    opened_at     timestamptz not null default now(),
    arrived_at    timestamptz,
    closed_at     timestamptz
);
-- whatever plans how often, and at the same instant: while one need of a place is open there is no second one
create unique index one_open_need_for_a_place on replenishment_needs (item, location) where closed_at is null;
create index replenishment_needs_by_place on replenishment_needs (item, location, closed_at);
create index replenishment_needs_by_origin on replenishment_needs (from_location, item)
    where closed_at is null and from_location is not null;

-- a need is open exactly as long as its case, whichever way that ends
create function close_need() returns trigger language plpgsql as $$
begin
    update replenishment_needs
    set closed_at = now(), outcome = case when new.state = 'rejected' then 'discarded' else new.outcome end
    where case_id = new.id and closed_at is null;
    return null;
end $$;
create trigger a_need_ends_with_its_case after update on cases for each row
    when (new.workflow = 'replenishment' and new.state in ('finished', 'rejected') and old.state <> new.state)
    execute function close_need();

-- A need looks at what it asked for not only when that ends, but also when it comes to wait for somebody else: a
-- purchase whose goods are there waits for its invoice, and the need is over.
create function wake_need() returns trigger language plpgsql as $$
begin
    perform from cases where id = new.parent_id and workflow = 'replenishment' for update;
    update cases set state = 'pending', available_at = now(), updated_at = now()
    where id = new.parent_id and workflow = 'replenishment' and state = 'waiting';
    return null;
end $$;
create trigger wake_need after update on cases for each row
    when (new.parent_id is not null and new.state = 'waiting' and old.state <> 'waiting')
    execute function wake_need();
"""

DOWN = """
drop trigger wake_need on cases;
drop trigger a_need_ends_with_its_case on cases;
drop function wake_need(), close_need();
drop table replenishment_needs, replenishment_rules;
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
