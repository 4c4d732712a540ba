"""What the page of the ledger looks up by: effects in trouble, and what they have in common."""

from __future__ import annotations

from alembic import op

revision = "0026"
down_revision = "0025"

UP = r"""
-- A digest of an error without what differs from one effect to the next: words with an @ or a digit, and what is
-- quoted. An answer's status stays, since 404 and 503 are not one cause.
create function error_cause(error text) returns text language sql immutable strict parallel safe as $$
    select left(md5(regexp_replace(left(error, 500),
        '"[^"]*"|''[^'']*''|(^|\s)(?![1-5]\d\d(\W|$))\S*[0-9@]\S*', ' ', 'g')), 12)
$$;
alter table effects add column cause text generated always as (error_cause(error)) stored;

-- a person is needed, or will be; what was withdrawn is nobody's trouble any more
create index effects_in_trouble on effects (id) include (state, system, operation, cause, created_at)
    where state in ('failed', 'unknown') or (state = 'dead' and not starts_with(error, 'withdrawn: '));
create index effects_given_up on effects (id) where state = 'dead' and starts_with(error, 'withdrawn: ');

-- the same as before, and it tells how long the queue of a system is, and how old, by itself
drop index effects_to_send;
create index effects_to_send on effects (system, operation, id) include (state, available_at, created_at)
    where state in ('pending', 'failed');
"""

DOWN = """
drop index effects_to_send;
create index effects_to_send on effects (system, operation, id) where state in ('pending', 'failed');
drop index effects_given_up, effects_in_trouble;
alter table effects drop column cause;
drop function error_cause(text);
"""


def upgrade() -> None:
    """Find them without reading every effect."""
    op.execute(UP)


def downgrade() -> None:
    """Remove it."""
    op.execute(DOWN)
