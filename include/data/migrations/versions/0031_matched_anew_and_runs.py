"""Whom a lead was matched with before a correction, and how Airflow's runs went, by hour."""

from __future__ import annotations

from alembic import op

revision = "0031"
down_revision = "0030"

UP = """
alter table leads add column former_contact_id uuid references directory_contacts;
create index leads_by_former_contact on leads (former_contact_id) where former_contact_id is not null;

-- by the hour in which they ended; means are sums by counts, for a run may end without having been queued or started
create table airflow_runs (
    hour           timestamptz not null,
    dag_id         text not null check (dag_id <> ''),
    runs           integer not null check (runs > 0),
    failed         integer not null check (failed between 0 and runs),
    queued         integer not null,
    queued_seconds double precision not null,
    longest_queued double precision not null,
    started        integer not null,
    took_seconds   double precision not null,
    longest_took   double precision not null,
    primary key (hour, dag_id)
);
"""


def upgrade() -> None:
    """Remember both."""
    op.execute(UP)


def downgrade() -> None:
    """Forget them."""
    op.execute("drop table airflow_runs; alter table leads drop column former_contact_id;")
