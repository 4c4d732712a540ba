"""Rows in bulk between PostgreSQL and data frames.

Only the moving of rows; what they mean is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import sql
from sqlalchemy import Connection, text

from include.data.database import driver

if TYPE_CHECKING:
    import pandas as pd


def read_frame(connection: Connection, query: str, values: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Return the rows of `query` as a frame of plain objects (NULL is None)."""
    import pandas as pd  # noqa: PLC0415 - half a second, which whoever only copies rows does not pay

    result = connection.execute(text(query), dict(values or {}))
    return pd.DataFrame(result.fetchall(), columns=list(result.keys()), dtype=object)


def array_of(values: Iterable[Any]) -> str:
    """Return values as PostgreSQL writes an array, to be bound in `cast(:name as text[])`.

    For many thousands of texts, numbers and moments: the driver takes ten times as long to adapt them one by one.

    :param values: texts, or anything else whose text PostgreSQL reads; any may be None.
    """
    elements = list(values)
    try:
        joined = '","'.join(elements)
    except TypeError:  # not texts alone
        return "{" + ",".join(["null" if each is None else _element(each) for each in elements]) + "}"
    if "\\" in joined or joined.count('"') > 2 * len(elements) - 2 or not elements:
        return "{" + ",".join(map(_element, elements)) + "}"
    return f'{{"{joined}"}}'


def _element(value: Any) -> str:
    if not isinstance(value, str):
        return str(value)
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Append `rows` to `table` by COPY, in the connection's transaction.

    Values are adapted as psycopg adapts them; wrap JSON in `psycopg.types.json.Jsonb`.

    :returns: the number of rows written.
    """
    written = 0
    statement = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    with driver(connection) as direct, direct.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
            written += 1
    return written
