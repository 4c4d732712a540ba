"""The service levels of one case: by when the whole and each of its steps is due, and what came of it.

It only reads the facts; the look of every minute writes them, so those of the last minute may be missing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, text

Standing = Literal["met", "missed", "late", "late soon", "open"]


@dataclass(frozen=True)
class Level:
    """One service level.

    :param step: None for the whole case.
    :param visit: 1 for the first time that the case came to the step, or was open.
    :param due_at: None while its clock stands before that time.
    :param stopped_since: since when its clock stands; None while it goes.
    """

    step: str | None
    visit: int
    started_at: datetime
    due_at: datetime | None
    ended_at: datetime | None
    stopped_since: datetime | None
    stands: Standing


def levels_of(connection: Connection, case_id: int) -> list[Level]:
    """Return the service levels of a case: the whole first, then its steps in the order in which it came to them."""
    found = connection.execute(
        text("""
            select step, visit, started_at, due_at, ended_at, stopped_since,
                   case when ended_at is not null then case when due_at < ended_at then 'missed' else 'met' end
                        when due_at < now() then 'late' when due_at is not null and warn_at < now() then 'late soon'
                        else 'open' end
            from service_levels where case_id = :id order by step is not null, started_at, visit, due_at"""),
        {"id": case_id},
    )
    return [Level(*row) for row in found]


def first_due(levels: Iterable[Level]) -> Level | None:
    """Return what is due first of that which is open; None when nothing is, or all clocks stand."""
    due = [(level.due_at, level) for level in levels if level.due_at and not level.ended_at]
    return min(due, key=lambda each: each[0])[1] if due else None
