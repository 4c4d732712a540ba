"""How the times of Airflow's runs were spread, so that medians can be told; and a person's rows found by indexes."""

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

-- by these whoever is exported or erased is found, without reading whole tables while leads wait
create index crm_tasks_by_deal on crm_tasks (deal_key);
create index contact_blocks_by_contact on contact_blocks (contact_id);
create index contact_merges_by_winner on contact_merges (winner);
create index contact_merges_by_loser on contact_merges (loser);
create index clients_by_case on clients (case_id);
"""

DOWN = """
drop index clients_by_case, contact_merges_by_loser, contact_merges_by_winner, contact_blocks_by_contact,
           crm_tasks_by_deal;
drop table airflow_run_times;
alter table airflow_runs add column queued_seconds double precision not null default 0,
                         add column took_seconds double precision not null default 0;
"""


def upgrade() -> None:
    """Keep the spread instead of the sum, and find people by indexes."""
    op.execute(UP)


def downgrade() -> None:
    """Keep the sum again, which starts at nothing."""
    op.execute(DOWN)
