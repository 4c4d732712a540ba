"""A case that waits for what it handed over looks again when that ends."""

from __future__ import annotations

from alembic import op

revision = "0016"
down_revision = "0015"

UP = """
-- Whoever waits for a case that it handed over looks again when that one ends. A parent that decides to wait at this
-- very moment is waited for first.
create function wake_parent() returns trigger language plpgsql as $$
begin
    perform from cases where id = new.parent_id for update;
    update cases set state = 'pending', available_at = now(), updated_at = now()
    where id = new.parent_id and state = 'waiting';
    return null;
end $$;
create trigger wake_parent after update on cases for each row
    when (new.parent_id is not null and new.state in ('finished', 'rejected') and old.state <> new.state)
    execute function wake_parent();
"""

DOWN = """
drop trigger wake_parent on cases;
drop function wake_parent();
"""


def upgrade() -> None:
    """Wake parents."""
    op.execute(UP)


def downgrade() -> None:
    """Let them sleep."""
    op.execute(DOWN)
