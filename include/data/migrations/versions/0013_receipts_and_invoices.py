"""Goods receipts, supplier invoices, and the journal that goes to accounting.

What a receipt or an invoice has counted on its order's lines is taken back here when its case is discarded, so that no
path of any program can leave a count behind.
"""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"

UP = r"""
create table goods_receipts (
    case_id      bigint primary key references cases,
    number       text,
    order_id     bigint references purchase_orders,
    order_number text,
    kind         text check (kind in ('delivery', 'return')),
    received_by  text,
    received_on  date,
    source       text,
    raw          jsonb not null,
    number_key   text generated always as (lower(regexp_replace(number, '\s', '', 'g'))) stored,
    recorded_at  timestamptz,
    posted_at    timestamptz,
    check (recorded_at is not null or posted_at is null)
);
create index goods_receipts_by_order on goods_receipts (order_id);
-- a delivery note counts once on its order, whoever sends it how often
create unique index goods_receipts_recorded on goods_receipts (order_id, kind, number_key)
    where recorded_at is not null;

create table goods_receipt_lines (
    case_id     bigint not null references goods_receipts,
    line        integer not null check (line > 0),
    order_line  integer,
    item        text,
    quantity    numeric(18, 4) not null check (quantity > 0),
    condition   text not null default 'good' check (condition in ('good', 'damaged')),
    accepted    numeric(18, 4) not null default 0 check (accepted >= 0 and accepted <= quantity),
    note        text,
    primary key (case_id, line)
);

create table supplier_invoices (
    case_id      bigint primary key references cases,
    supplier     text,
    supplier_name text,
    number       text,
    kind         text check (kind in ('invoice', 'credit_note')),
    order_id     bigint references purchase_orders,
    order_number text,
    corrects     text,
    invoice_date date,
    due_date     date,
    currency     char(3),
    net          numeric(18, 4),
    tax          numeric(18, 4),
    gross        numeric(18, 4),
    rate         numeric(20, 10),
    rate_day     date,
    source       text,
    raw          jsonb not null,
    number_key   text generated always as (lower(regexp_replace(number, '\s', '', 'g'))) stored,
    corrects_key text generated always as (lower(regexp_replace(corrects, '\s', '', 'g'))) stored,
    matched_at   timestamptz,
    booked_at    timestamptz,
    check (matched_at is not null or booked_at is null)
);
-- a supplier's invoice number is booked once, whoever sends it how often
create unique index supplier_invoices_booked on supplier_invoices (supplier, number_key) where matched_at is not null;
create index supplier_invoices_by_order on supplier_invoices (order_id);

-- whoever comes first holds a number; a second one, be it at the same instant, finds it taken
create table supplier_invoice_numbers (
    supplier   text not null,
    number_key text not null,
    case_id    bigint not null references supplier_invoices,
    primary key (supplier, number_key)
);
create index supplier_invoice_numbers_by_case on supplier_invoice_numbers (case_id);

create table supplier_invoice_lines (
    case_id     bigint not null references supplier_invoices,
    line        integer not null check (line > 0),
    order_line  integer,
    item        text,
    description text,
    quantity    numeric(18, 4) not null check (quantity > 0),
    unit_price  numeric(18, 4) not null,
    tax_rate    numeric(6, 4) not null,
    net         numeric(18, 4) not null,
    tax         numeric(18, 4) not null,
    verdict     text,
    matched_line integer,
    account     text,
    counted     numeric(18, 4) not null default 0 check (counted >= 0 and counted <= quantity),
    primary key (case_id, line)
);

-- double entry, in the company's currency and the document's; append-only, the sum of a document is zero
create table journal_lines (
    id          bigint generated always as identity primary key,
    case_id     bigint not null references supplier_invoices,
    line        integer not null,
    booked_on   date not null,
    document    text not null,
    supplier    text not null,
    account     text not null,
    cost_centre text,
    tax_code    text,
    debit       numeric(18, 2) not null default 0 check (debit >= 0),
    credit      numeric(18, 2) not null default 0 check (credit >= 0),
    currency    char(3) not null,
    document_amount   numeric(18, 4) not null,
    document_currency char(3) not null,
    text        text not null,
    unique (case_id, line),
    check ((debit = 0) <> (credit = 0))
);
create index journal_lines_by_day on journal_lines (booked_on, id);
create trigger journal_is_append_only before update or delete or truncate on journal_lines
    for each statement execute function refuse('the journal is put right by another entry');

create function refuse_unbalanced() returns trigger language plpgsql as $$
begin
    if exists (select from written group by case_id
               having sum(debit) <> sum(credit) or sum(document_amount) <> 0) then
        raise exception 'debit and credit of a document differ';
    end if;
    return null;
end $$;
create trigger journal_balances after insert on journal_lines
    referencing new table as written for each statement execute function refuse_unbalanced();

-- the order's case is locked first, as by everybody who counts
create function take_back_receipts(ids bigint[]) returns void language sql as $$
    select from cases where id in (
        select order_id from goods_receipts where case_id = any(ids) and recorded_at is not null and posted_at is null)
    order by id for update;
    with undone as (
        update goods_receipts set recorded_at = null
        where case_id = any(ids) and recorded_at is not null and posted_at is null
        returning case_id, order_id, kind
    ), counts as (
        select order_id, order_line,
               coalesce(sum(accepted) filter (where kind = 'delivery'), 0) as received,
               coalesce(sum(accepted) filter (where kind = 'return'), 0) as returned
        from undone join goods_receipt_lines using (case_id) where accepted > 0 group by order_id, order_line
    )
    update purchase_order_lines o set received = o.received - c.received, returned = o.returned - c.returned
    from counts c where c.order_id = o.order_id and c.order_line = o.line
$$;

create function take_back_invoices(ids bigint[]) returns void language sql as $$
    select from cases where id in (
        select order_id from supplier_invoices
        where case_id = any(ids) and matched_at is not null and booked_at is null)
    order by id for update;
    with undone as (
        update supplier_invoices set matched_at = null
        where case_id = any(ids) and matched_at is not null and booked_at is null
        returning case_id, order_id, kind
    ), counts as (
        select order_id, matched_line,
               coalesce(sum(counted) filter (where kind = 'invoice'), 0) as invoiced,
               coalesce(sum(counted) filter (where kind = 'credit_note'), 0) as credited
        from undone join supplier_invoice_lines using (case_id) where counted > 0 group by order_id, matched_line
    )
    update purchase_order_lines o set invoiced = o.invoiced - c.invoiced, credited = o.credited - c.credited
    from counts c where c.order_id = o.order_id and c.matched_line = o.line
$$;

create function take_back_discarded() returns trigger language plpgsql as $$
begin
    if new.workflow = 'goods_receipt' then
        perform take_back_receipts(array[new.id]);
    else
        perform take_back_invoices(array[new.id]);
        delete from supplier_invoice_numbers where case_id = new.id;
    end if;
    return null;
end $$;
create trigger what_is_discarded_counts_no_more after update on cases
    for each row when (new.state = 'rejected' and old.state <> 'rejected'
                       and new.workflow in ('goods_receipt', 'supplier_invoice'))
    execute function take_back_discarded();

create table report_purchase_facts (
    case_id       bigint primary key references cases,
    number        text not null,
    requested_on  date not null,
    department    text,
    cost_centre   text,
    category      text,
    supplier      text,
    amount        numeric(18, 2),
    booked        numeric(18, 2) not null default 0,
    outcome       text not null,
    approved_after interval,
    closed_after  interval
);
"""

DOWN = """
drop trigger what_is_discarded_counts_no_more on cases;
drop function take_back_discarded(), take_back_invoices(bigint[]), take_back_receipts(bigint[]);
drop table report_purchase_facts, journal_lines, supplier_invoice_lines, supplier_invoice_numbers, supplier_invoices,
           goods_receipt_lines, goods_receipts;
drop function refuse_unbalanced();
"""


def upgrade() -> None:
    """Create the tables of receipts and invoices."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
