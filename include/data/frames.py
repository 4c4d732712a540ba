"""Rows in bulk between PostgreSQL and data frames.

Only the moving of rows; what they mean is the caller's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from psycopg import sql
from sqlalchemy import Connection, text

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
    """
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: Any) -> str:
    if isinstance(value, str):
        if "\\" in value or '"' in value:
            value = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{value}"'
    return "null" if value is None else str(value)


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Append `rows` to `table` by COPY, in the connection's transaction.

    Values are adapted as psycopg adapts them; wrap JSON in `psycopg.types.json.Jsonb`.

    :returns: the number of rows written.
    """
    written = 0
    statement = sql.SQL("copy {} ({}) from stdin").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
    )
    driver = connection.connection.driver_connection
    if driver is None:  # only after the connection was given back
        raise RuntimeError("the connection is closed")
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)
            written += 1
    return written
