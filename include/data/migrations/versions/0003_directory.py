"""The directory: Waybill's own register of known people and companies, which leads are matched against.

Independent of the CRM; holds no lead and no deal.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = ("contact_merges", "possible_duplicates", "contact_blocks", "contact_keys", "directory_contacts")


def upgrade() -> None:
    """Create the directory, its keys and blocks, and what people decide about possible duplicates."""
    op.execute("""
        create table directory_companies (
            id uuid primary key default uuidv7(),
            name text not null check (name <> ''),
            name_key text check (name_key <> ''),
            domain text check (domain <> ''),
            country char(2),
            city text,
            created_at timestamptz not null default now()
        )""")
    op.execute("create unique index on directory_companies (domain) where domain is not null")
    op.execute("create index on directory_companies (name_key) where name_key is not null")

    op.execute("""
        create table directory_contacts (
            id uuid primary key default uuidv7(),
            email text, email_key text, phone text,
            first_name text, last_name text, full_name text, name_key text,
            company_id uuid references directory_companies,
            company_key text, domain text, country char(2), city text, postal_code text,
            merged_into uuid references directory_contacts check (merged_into <> id),
            created_at timestamptz not null default now(),
            updated_at timestamptz not null default now()
        )""")
    op.execute("create index on directory_contacts (company_id) where company_id is not null")
    op.execute("create index on directory_contacts (merged_into) where merged_into is not null")

    op.execute("""
        create table contact_keys (
            kind text not null check (kind in ('email', 'external_id')),
            value text not null check (value <> ''),
            contact_id uuid not null references directory_contacts on delete cascade,
            primary key (kind, value)
        )""")
    op.execute("create index on contact_keys (contact_id)")
    op.execute("""
        comment on table contact_keys is
        'What names one person exactly. A merged contact keeps its keys; readers follow merged_into.'""")

    # No foreign key: it is an index derived from contacts and is only read joined to them, and checking
    # eight rows a contact would cost as much as all the rest of an insert.
    op.execute("""
        create table contact_blocks (
            block bigint not null,
            contact_id uuid not null,
            primary key (block, contact_id)
        )""")
    op.execute("comment on table contact_blocks is 'Which contacts are worth comparing: equal block, same bucket.'")

    op.execute("""
        create table possible_duplicates (
            id bigint generated always as identity primary key,
            contact_a uuid not null references directory_contacts on delete cascade,
            contact_b uuid not null references directory_contacts on delete cascade,
            case_id bigint references cases,
            score double precision not null check (score between 0 and 1),
            evidence jsonb not null,
            state text not null default 'open' check (state in ('open', 'merged', 'kept apart')),
            decided_by text,
            decided_at timestamptz,
            created_at timestamptz not null default now(),
            check (contact_a < contact_b),
            check ((state = 'open') = (decided_by is null)),
            check ((state = 'open') = (decided_at is null)),
            unique (contact_a, contact_b)
        )""")
    op.execute("create index on possible_duplicates (contact_b)")
    op.execute("create index on possible_duplicates (case_id)")
    op.execute("create index on possible_duplicates (created_at) where state = 'open'")

    op.execute("""
        create table contact_merges (
            id bigint generated always as identity primary key,
            pair_id bigint not null references possible_duplicates on delete cascade,
            winner uuid not null references directory_contacts on delete cascade,
            loser uuid not null references directory_contacts on delete cascade,
            filled jsonb not null,
            redirected uuid[] not null,
            merged_by text not null,
            merged_at timestamptz not null default now(),
            undone_by text,
            undone_at timestamptz,
            check (winner <> loser),
            check ((undone_by is null) = (undone_at is null))
        )""")
    op.execute("create unique index on contact_merges (pair_id) where undone_at is null")
    op.execute("""
        comment on table contact_merges is
        'What undoing a merge needs: what the loser filled in the winner, and who was redirected.'""")


def downgrade() -> None:
    """Drop the directory and the decisions about it."""
    for table in TABLES:
        op.execute(f"drop table {table}")
    op.execute("drop table directory_companies")
