"""How the times of Airflow's runs were spread, by hour, so that medians can be told and not means alone."""

from __future__ import annotations

from alembic import op

revision = "0034"
down_revision = "0033"

# Sums of times cannot be spread afterwards: of the hours before, only counts and the longest stay.
UP = """
alter table airflow_runs drop column queued_seconds, drop column took_seconds;
-- runs by the size of a time: from 2^(size/4) to 2^((size+1)/4) seconds, so that every time is known to within 9 %
create table airflow_run_times (
    hour    timestamptz not null,
    dag_id  text not null,
    what    text not null check (what in ('queued', 'took')),
    size    smallint not null,
    runs    integer not null check (runs > 0),
    primary key (hour, dag_id, what, size),
    foreign key (hour, dag_id) references airflow_runs on delete cascade
);
"""

DOWN = """
drop table airflow_run_times;
alter table airflow_runs add column queued_seconds double precision not null default 0,
                         add column took_seconds double precision not null default 0;
"""


def upgrade() -> None:
    """Keep the spread instead of the sum."""
    op.execute(UP)


def downgrade() -> None:
    """Keep the sum again, which starts at nothing."""
    op.execute(DOWN)
