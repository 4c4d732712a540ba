"""Rows of a file that form one document together, such as the lines of an invoice, wherever in the file they stand.

The database puts them together, on its disk: memory does not grow with the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from sqlalchemy import Connection, text

from include.data.frames import copy_rows

LINE = "_line"
"""In each row of a group: the number of its line in the file."""

# The digest is over what the rows say and not over where they stand: the same invoice in a longer file is the same.
_GROUP = """
    create temporary table grouped as
    select row_number() over (order by min(line)) as number, min(line) as line, count(*) as rows, key,
           sha256(string_agg(body, '\\x0a' order by line)) as digest,
           convert_to(:begins || to_json(case when key like 'id:%' then substr(key, 4) else '' end) || :rows, 'UTF8')
           || string_agg(substr(body, 1, length(body) - 1) || convert_to(:numbered || line || '}', 'UTF8'), ','
                         order by line)
           || convert_to(']}', 'UTF8') as body
    from staged group by key"""


class Groups:
    """The rows of one file on their way into groups, in tables that end with the connection."""

    def __init__(self, connection: Connection, column: str) -> None:
        """Begin with no rows.

        :param connection: one that is used for nothing else.
        :param column: what the value that the rows have in common is called in the document.
        """
        self._connection = connection
        self._column = column
        with connection.begin():
            connection.execute(text("set work_mem = '64MB'"))
            connection.execute(text('create temporary table staged (line bigint, key text collate "C", body bytea)'))

    def add(self, rows: Iterable[tuple[int, str, bytes]]) -> int:
        """Add rows: line, key and the row as an object with something in it; return how many they were."""
        with self._connection.begin():
            return copy_rows(self._connection, "staged", ("line", "key", "body"), rows)

    def close(self, most_bytes: int) -> tuple[int, list[tuple[int, int]]]:
        """Put the rows together.

        :param most_bytes: a group that is larger is left out.
        :returns: how many groups there are, and of those that are left out the first line and the number of rows.
        """
        values = {
            "begins": f"{{{orjson.dumps(self._column).decode()}:",
            "rows": ',"rows":[',
            "numbered": f',"{LINE}":',
        }
        with self._connection.begin():
            self._connection.execute(text(_GROUP), values)
            self._connection.execute(text("drop table staged"))
            large = self._connection.execute(
                text("delete from grouped where length(body) > :most returning line, rows"), {"most": most_bytes}
            ).all()
            self._connection.execute(text("create unique index on grouped (number)"))
            self._connection.execute(text("analyze grouped"))
            there = self._connection.execute(text("select count(*) from grouped")).scalar_one()
        return there, sorted((row.line, row.rows) for row in large)

    def chunks(self, size: int) -> Iterator[tuple[int, int]]:
        """Yield chunks of at most `size` groups, in order of their first lines, as their first and last number."""
        with self._connection.begin():
            last: Any = self._connection.execute(text("select max(number) from grouped")).scalar_one()
        for first in range(1, (last or 0) + 1, size):
            yield first, first + size - 1

    def pick(self, first: int, last: int) -> int:
        """Lay the groups of a chunk into the table `incoming`, for one transaction; return how many they are."""
        return self._connection.execute(
            text("""
                create temporary table incoming on commit drop as
                select line, key, digest, body from grouped where number between :first and :last"""),
            {"first": first, "last": last},
        ).rowcount
