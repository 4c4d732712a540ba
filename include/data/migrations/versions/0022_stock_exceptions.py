"""The daily report of stock exceptions."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0021"

UP = """
-- what was out of order on a day, one row for each thing that somebody must look at
create table stock_exceptions (
    day      date not null,
    kind     text not null check (kind <> ''),
    subject  text not null,
    owner    text not null check (owner <> ''),
    item     text,
    location text,
    quantity numeric(18, 6),
    value    numeric(18, 2),
    days     integer,
    case_id  bigint references cases,
    told     text not null,
    primary key (day, kind, subject)
);

-- the page as it was told on that day; a later one does not change it
create table stock_exception_reports (
    day        date primary key,
    found      integer not null,
    html       text not null,
    written_at timestamptz not null default now()
);
"""

DOWN = """
drop table stock_exception_reports, stock_exceptions;
"""


def upgrade() -> None:
    """Create the tables."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them."""
    op.execute(DOWN)
