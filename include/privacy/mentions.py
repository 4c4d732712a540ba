"""Looks through whole tables for the rows that name a person, for only that proves that no mention of them is left.

It takes no lock and holds no snapshot: a table is read in stretches of pages, each by a statement of its own. A row
that is changed meanwhile may move behind the reader's back, to a page that was read already. It is then a new version,
and new versions are read once more at the end: whatever was there when the search began is found.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from include.privacy.inventory import inventory
from include.privacy.person import NOTHING, Person

STRETCH = 1000
"""Pages that a statement reads at most: some 8 MB, and what they lead to."""
TOLD_EVERY = 10  # percent

_STRETCH = "ctid >= cast(:first as tid) and ctid < cast(:until as tid)"
# written by a transaction that was not over when the search began; `age` counts back from now, over the wrap of numbers
_NEW_VERSIONS = "age(xmin) <= age(cast(cast(:before as xid8) as xid))"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Rows of one table that name a person, by its primary key (the column `key`)."""

    key: str
    ids: list[Any]


Mentions = Mapping[str, Rows]
"""By table; also rows about the person themselves. Tables without any are left out."""


@dataclass(frozen=True)
class Table:
    """One table to be read; `size` in bytes, with the long values that it keeps outside of its pages."""

    name: str
    key: str
    pages: int
    size: int


def search(connection: Connection, person: Person) -> Mentions:
    """Return the rows that name a person, in the tables that may mention one; the log says how far it is, in percent.

    :param connection: in `read committed`; an open transaction of it holds nothing up.
    """
    if person.addresses == NOTHING:
        return {}
    to_read = tables(connection)
    begun = time.monotonic()
    before = connection.execute(text("select pg_snapshot_xmin(pg_current_snapshot())::text")).scalar_one()
    found: dict[str, set[Any]] = {table.name: set() for table in to_read}
    total, read, told = sum(table.size for table in to_read), 0.0, 0
    log.info("looking for mentions of a person in %d tables, %.1f MB", len(to_read), total / 1e6)
    for table in to_read:
        for first in range(0, table.pages, STRETCH):
            until = min(first + STRETCH, table.pages)
            ends = {"first": f"({first},0)", "until": f"({until},0)"}
            found[table.name] |= _found(connection, person, table, _STRETCH, ends)
            read += table.size * (until - first) / table.pages
            if (percent := int(100 * read / total)) >= told + TOLD_EVERY:
                told = percent - percent % TOLD_EVERY
                log.info("%d %% looked through in %.0f s", told, time.monotonic() - begun)
    for table in to_read:
        found[table.name] |= _found(connection, person, table, _NEW_VERSIONS, {"before": before})
    rows = sum(map(len, found.values()))
    log.info("all looked through in %.0f s: %d rows name the person", time.monotonic() - begun, rows)
    return {table.name: Rows(table.key, sorted(found[table.name])) for table in to_read if found[table.name]}


def naming(columns: Iterable[str]) -> str:
    """The SQL that is true where any of the columns names a person by an address; of :hints and :addresses."""
    return f"({' or '.join(map(names, columns))})"


def names(column: str) -> str:
    """The SQL that is true where a column names a person by an address."""
    # the expression is slow, and so is reading bytes as text; most rows do not even hold the words, compared as bytes
    words, whole = ("encode(body, 'escape')", "body_text(body)") if column == "body" else [f'"{column}"::text'] * 2
    return f'coalesce(lower({words} collate "C") like any(:hints) and {whole} ~* :addresses, false)'


def _found(connection: Connection, person: Person, table: Table, where: str, values: Mapping[str, Any]) -> set[Any]:
    columns = inventory().holds[table.name].elsewhere
    rows = connection.execute(
        text(f'select "{table.key}" from "{table.name}" where {where} and {naming(columns)}'),
        {**person.values, **values},
    )
    return set(rows.scalars())


def tables(connection: Connection) -> list[Table]:
    """The tables that may mention somebody in rows about something else, in the inventory's order."""
    wanted = [name for name, table in inventory().holds.items() if table.elsewhere]
    rows = connection.execute(
        text("""
            select name, attname, pg_relation_size(i.indrelid) / cast(current_setting('block_size') as int) as pages,
                   case when pg_relation_size(i.indrelid) > 0 then pg_table_size(i.indrelid) else 0 end as size
            from unnest(cast(:wanted as text[])) with ordinality as w (name, place)
            join pg_index i on i.indrelid = to_regclass(quote_ident(name)) and i.indisprimary
            join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
            order by place"""),
        {"wanted": wanted},
    )
    return [Table(*row) for row in rows]
