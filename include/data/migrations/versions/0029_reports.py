"""Editions of reports, and what their figures are looked up by: when things happened."""

from __future__ import annotations

from alembic import op

revision = "0029"
down_revision = "0028"

UP = """
-- What a report said of an interval. Other figures of the same interval are another revision; `effects` are the keys
-- under which this one went out. `confirmed_at` is when the same figures were found last.
create table report_editions (
    id           bigint generated always as identity primary key,
    report       text not null check (report <> ''),
    period       text not null check (period in ('daily', 'weekly', 'monthly')),
    first_day    date not null,
    starts_at    timestamptz not null,
    ends_at      timestamptz not null check (ends_at > starts_at),
    revision     integer not null check (revision >= 1),
    digest       text not null check (digest ~ '^[0-9a-f]{64}$'),
    figures      jsonb not null,
    state        text not null check (state in ('published', 'refused')),
    reasons      jsonb,
    effects      text[] not null default '{}',
    run_id       text,
    written_at   timestamptz not null default now(),
    confirmed_at timestamptz not null default now(),
    unique (report, period, first_day, revision),
    constraint refused_means_reasons
        check ((state = 'refused') = coalesce(jsonb_typeof(reasons) = 'array' and reasons <> '[]', false))
);
create index report_editions_by_report on report_editions (report, id desc);
create trigger editions_stay_as_they_were_told
    before update of report, period, first_day, starts_at, ends_at, revision, digest, figures, state, reasons,
                     written_at
    on report_editions for each statement execute function refuse('other figures are another edition');
create trigger editions_never_vanish before delete or truncate on report_editions
    for each statement execute function refuse('an edition stays as it was told');

-- when the lead was sent, which may be long before it came
alter table report_lead_facts add column happened_at timestamptz;
update report_lead_facts f set happened_at = least(l.submitted_at, f.received_at) from leads l
where l.case_id = f.case_id;
alter table report_lead_facts alter column happened_at set not null;
create index report_lead_facts_by_time on report_lead_facts (happened_at);
create index report_lead_facts_by_processing on report_lead_facts (processed_at);

create index deals_by_opening on deals (opened_at);
create index deals_by_close on deals (closed_at) where closed_at is not null;
create index service_levels_by_settling on service_levels (coalesce(met_at, missed_at));
create index stock_movements_by_time on stock_movements using brin (moved_at);
create index stock_values_by_time on stock_values using brin (moved_at);
"""

DOWN = """
drop index stock_movements_by_time, stock_values_by_time, deals_by_opening, deals_by_close,
           service_levels_by_settling;
alter table report_lead_facts drop column happened_at;
drop table report_editions;
"""


def upgrade() -> None:
    """Create them; a lead that is known happened when it was sent."""
    op.execute(UP)


def downgrade() -> None:
    """Remove them; what was sent stays in the ledger."""
    op.execute(DOWN)
