"""What the quarantine pages look up by."""

from __future__ import annotations

from alembic import op

revision = "0025"
down_revision = "0024"

UP = """
-- each code once; no rule gives that many, and an entry of an index has its limit
create function reason_codes(reasons jsonb) returns text[] language sql immutable strict parallel safe as $$
    select array_agg(code order by code) from (
        select distinct left(found #>> '{}', 60) as code from jsonb_path_query(reasons, '$[*].code') as found limit 40
    ) as codes
$$;

-- Why a case is set aside, and when it arrived, without reading the case. Nothing in here changes while a case goes on.
alter table cases add column codes text[]
    generated always as (case when state = 'quarantined' then reason_codes(reasons) end) stored;
create index cases_by_reason on cases (workflow, id) include (codes, created_at) where state = 'quarantined';

create index possible_duplicates_open on possible_duplicates (id) where state = 'open';
create index possible_duplicates_decided on possible_duplicates (decided_at, id) where state <> 'open';
"""

DOWN = """
drop index possible_duplicates_decided, possible_duplicates_open, cases_by_reason;
alter table cases drop column codes;
drop function reason_codes(jsonb);
"""


def upgrade() -> None:
    """Find cases by reason, and pairs by whether they are decided, without reading all others."""
    op.execute(UP)


def downgrade() -> None:
    """Remove it."""
    op.execute(DOWN)
