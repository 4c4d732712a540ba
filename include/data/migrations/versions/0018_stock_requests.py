"""Stock requests, their lines, and transfers under way."""

from __future__ import annotations

from alembic import op

revision = "0018"
down_revision = "0017"

UP = """
-- one row a case of stock_request
create table stock_requests (
    case_id     bigint primary key references cases,
    number      text not null unique,
    source      text,
    kind        text check (kind in ('receipt', 'issue', 'consumption', 'transfer', 'transfer_receipt', 'return',
                                     'supplier_return', 'adjustment', 'write_off', 'count')),
    feed        boolean not null default false,
    requester   text,
    entered_by  text,
    origin      text,
    destination text,
    reason      text,
    reference   text,
    sheet       text,
    occurred_at timestamptz,
    value       numeric(18, 2),
    policy      text,
    routing     jsonb,
    digest      text check (digest ~ '^[0-9a-f]{64}$'),
    approved_by text,
    posted_at   timestamptz,
    updated_at  timestamptz not null default now()
);

create index stock_requests_put_right on stock_requests (requester, origin, kind)
    where kind in ('adjustment', 'write_off');

-- `quantity` in the item's base unit, with a sign in adjustments; `verdict` says what became of the line
create table stock_request_lines (
    case_id       bigint not null references stock_requests,
    line          integer not null check (line > 0),
    item          text,
    sent_quantity numeric(18, 6),
    unit          text,
    quantity      numeric(18, 6),
    lot           text not null default '',
    expires_on    date,
    unit_cost     numeric(18, 6),
    counted       numeric(18, 6),
    expected      numeric(18, 6),
    occurred_at   timestamptz,
    note          text,
    verdict       text check (verdict in ('rejected', 'held', 'posted', 'back_order', 'short', 'nothing')),
    reason        text,
    posted        numeric(18, 6) not null default 0,
    primary key (case_id, line)
);
create index stock_request_lines_waiting on stock_request_lines (item) where verdict = 'back_order';

-- what was shipped and has not all arrived; the case is the transfer's
create table stock_transfers (
    case_id     bigint primary key references stock_requests,
    number      text not null unique,
    origin      text not null,
    destination text not null,
    shipped_at  timestamptz not null,
    state       text not null default 'under way' check (state in ('under way', 'received', 'closed short')),
    closed_at   timestamptz
);
create table stock_transfer_lines (
    case_id  bigint not null references stock_transfers,
    line     integer not null,
    item     text not null,
    lot      text not null default '',
    shipped  numeric(18, 6) not null check (shipped > 0),
    received numeric(18, 6) not null default 0,
    lost     numeric(18, 6) not null default 0,
    primary key (case_id, line),
    constraint never_more_arrives_than_was_shipped check (received >= 0 and lost >= 0 and received + lost <= shipped)
);

-- what the ERP was told last of a product
create index effects_of_products on effects (target, id desc) where operation = 'upsert_product';

-- What a request had reserved and does not take is there for those who wait for it at this place. The name comes before
-- that of the trigger that ends the reservations.
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
"""

DOWN = """
drop trigger stock_is_let_go on cases;
drop function wake_for_stock();
drop index effects_of_products;
drop table stock_transfer_lines, stock_transfers, stock_request_lines, stock_requests;
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
