"""What stands where: every workflow's open cases by step, its books, what came and went today, and what failed.

It only reads. Counting the books reads every case, so one count serves all who look within `BOOKS_LAST`.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import groupby

from sqlalchemy import Connection, text

from include.cases.balance import Balance, balances
from include.contracts.documents import DocumentError
from include.contracts.model import Contract
from include.contracts.registry import contracts
from include.monitoring.service_levels.facts import Lateness, lateness
from include.monitoring.views.effects import PLANNED_BY, TROUBLE
from include.stock.warehouse import warehouse

BOOKS_LAST = 10.0  # seconds
HOURS = 24
"""Length of the plot of what came and went."""

# One branch for each partial index; a single condition over the states would read all cases.
_OPEN = """
    select workflow, stage, state, count(*) as cases, min(created_at) as oldest from (
        select workflow, stage, state, created_at from cases where state = 'pending'
        union all select workflow, stage, state, created_at from cases where state = 'running'
        union all select workflow, stage, state, created_at from cases where state in ('quarantined', 'waiting')
    ) as open group by workflow, stage, state"""
_CAME = """
    select workflow, date_trunc('hour', created_at) as hour, count(*) as cases from cases
    where workflow = any(:workflows) and created_at >= :since group by 1, 2"""
_WENT = """
    select workflow, date_trunc('hour', closed_at) as hour, count(*) as cases from cases
    where closed_at >= :since group by 1, 2"""
_EFFECTS = f"""
    select {PLANNED_BY} as workflow, e.state, count(*) as effects from effects e where {TROUBLE} group by 1, 2"""


@dataclass(frozen=True)
class StageStanding:
    """The open cases at one step.

    :param counts: state -> cases; a state without any is not in it.
    :param oldest: when the first of them arrived.
    """

    step: str
    title: str
    owner: str
    counts: Mapping[str, int]
    oldest: datetime | None

    @property
    def cases(self) -> int:
        """All of them."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class WorkflowStanding:
    """One workflow at a glance.

    :param books: None where no case has ever come in.
    :param effects: state -> effects that it planned and that did not go well: failed, dead, unknown.
    :param lateness: open cases past their service level, or nearly.
    :param came: cases by hour of the last day, oldest first; `went` the same for those that ended.
    :param came_today: cases since midnight in the company's time zone; `went_today` the same for those that ended.
    """

    contract: Contract
    books: Balance | None
    stages: list[StageStanding]
    effects: Mapping[str, int]
    came: list[int]
    went: list[int]
    came_today: int
    went_today: int
    lateness: Lateness

    @property
    def balanced(self) -> bool:
        """Whether every case that came in is accounted for."""
        return self.books is None or self.books.difference == 0

    @property
    def seen(self) -> bool:
        """Whether there is anything to show: cases came in, or something that it planned did not go well."""
        return self.books is not None or bool(self.effects)

    def standing(self, *states: str) -> int:
        """Open cases in any of the states."""
        return sum(stage.counts.get(state, 0) for stage in self.stages for state in states)

    @property
    def oldest(self) -> datetime | None:
        """When the oldest open case arrived."""
        return min((stage.oldest for stage in self.stages if stage.oldest), default=None)


@dataclass
class Books:
    """The books of all workflows, counted at most every `BOOKS_LAST`; safe to share between threads."""

    _counted: dict[str, Balance] = field(default_factory=dict)
    _at: float = float("-inf")
    _moment: datetime | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, connection: Connection) -> tuple[dict[str, Balance], datetime]:
        """Return the books by workflow, and when they were counted."""
        with self._lock:
            if self._moment is None or time.monotonic() - self._at > BOOKS_LAST:
                self._counted = {balance.workflow: balance for balance in balances(connection)}
                self._at, self._moment = time.monotonic(), datetime.now(UTC)
            return self._counted, self._moment


def board(connection: Connection, books: Mapping[str, Balance]) -> list[WorkflowStanding]:
    """Return every workflow that a contract declares, those that are not built too: their cases wait as well."""
    declared = contracts()
    now = datetime.now(UTC)
    hours = [now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=back) for back in range(HOURS)][::-1]
    midnight = now.astimezone(zone()).replace(hour=0, minute=0, second=0, microsecond=0)
    values = {"workflows": list(declared), "since": min(hours[0], midnight)}
    standing = stages(connection, declared)
    came = {(row.workflow, row.hour): row.cases for row in connection.execute(text(_CAME), values)}
    went = {(row.workflow, row.hour): row.cases for row in connection.execute(text(_WENT), values)}
    late = lateness(connection)
    effects: dict[str, dict[str, int]] = {}
    for row in connection.execute(text(_EFFECTS)):
        effects.setdefault(row.workflow, {})[row.state] = row.effects
    return [
        WorkflowStanding(
            contract=of,
            books=books.get(workflow),
            stages=standing[workflow],
            effects=effects.get(workflow, {}),
            came=[came.get((workflow, hour), 0) for hour in hours],
            went=[went.get((workflow, hour), 0) for hour in hours],
            came_today=sum(n for (name, hour), n in came.items() if name == workflow and hour >= midnight),
            went_today=sum(n for (name, hour), n in went.items() if name == workflow and hour >= midnight),
            lateness=late.get(workflow, Lateness()),
        )
        for workflow, of in declared.items()
    ]


def zone() -> tzinfo:
    """The time zone in which today began: the company's; UTC while its file cannot be read, for work goes on then."""
    try:
        return warehouse().zone
    except DocumentError:
        return UTC


def stages(connection: Connection, declared: Mapping[str, Contract]) -> dict[str, list[StageStanding]]:
    """Return the stages of every workflow in their order, with those that no contract declares any more at the end."""
    rows = sorted(connection.execute(text(_OPEN)), key=lambda row: (row.workflow, row.stage))
    found = {key: list(group) for key, group in groupby(rows, key=lambda row: (row.workflow, row.stage))}
    standing: dict[str, list[StageStanding]] = {}
    for workflow, of in declared.items():
        steps = {step.id: step for step in of.steps}
        others = sorted(stage for name, stage in found if name == workflow and stage not in steps)
        standing[workflow] = [
            StageStanding(
                step=stage,
                title=steps[stage].title if stage in steps else stage,
                owner=(steps[stage].owner if stage in steps else of.owner).id,
                counts={row.state: row.cases for row in found.get((workflow, stage), [])},
                oldest=min((row.oldest for row in found.get((workflow, stage), [])), default=None),
            )
            for stage in (*steps, *others)
        ]
    return standing
