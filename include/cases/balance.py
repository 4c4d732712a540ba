"""The books: received = finished + rejected + waiting + quarantined + in progress.

Reads the `balance` view; the same query serves the demo, the tests and the ops pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, text


@dataclass(frozen=True)
class Balance:
    """The books of one workflow, in cases."""

    workflow: str
    received: int
    finished: int
    rejected: int
    waiting: int
    quarantined: int
    in_progress: int
    difference: int


def balances(connection: Connection) -> list[Balance]:
    """Return the books of every workflow that has received anything."""
    rows = connection.execute(text("select * from balance order by workflow")).mappings()
    return [Balance(**row) for row in rows]


def are_balanced(books: Iterable[Balance]) -> bool:
    """Tell whether nothing is lost, in any workflow."""
    return all(balance.difference == 0 for balance in books)
