"""The ledger as people look at it: what is in trouble, by what it has in common, and one effect with its story.

It only reads; what is done about trouble is `include.integrations.by_hand`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, text

from include.integrations.by_hand import AS_SEEN
from include.integrations.ledger import WITHDRAWN

PAGE = 50
MOST_GROUPS = 100
LONG = timedelta(minutes=15)
"""Time after which an effect that was due, or whose sender died, has waited for long: LONGEST_RETRY of the ledger."""
STATES = {
    "failed": "failed, tried again by itself",
    "dead": "dead, a person must act",
    "unknown": "unknown whether it happened",
    "waiting": "waiting for long",
    "given_up": "given up by a person",
}
"""What one may look for, in words."""

TROUBLE = f"""(e.state in ('failed', 'unknown')
               or (e.state = 'dead' and not starts_with(e.error, '{WITHDRAWN}')))"""
"""The SQL that is true for an effect `e` that did not go well, and that somebody wants: the condition of an index."""

PLANNED_BY = "split_part(e.key, '/', 1)"
"""The SQL for the workflow that planned an effect `e`."""

# Each names the condition of a partial index first.
_OVERDUE = "(e.state in ('pending', 'failed') and e.state = 'pending' and e.available_at < now() - :long)"
_ABANDONED = "(e.state in ('sending', 'unknown') and e.state = 'sending' and e.lease_until < now() - :long)"
_GIVEN_UP = f"(e.state = 'dead' and starts_with(e.error, '{WITHDRAWN}'))"

_GROUPS = f"""
    select g.*, x.error from (
        select e.state, e.system, e.operation, e.cause, count(*) as effects, min(e.created_at) as oldest,
               min(e.id) as first
        from effects e where {TROUBLE} group by 1, 2, 3, 4
        union all
        select 'waiting', system, operation, null, count(*), min(created_at), min(id) from (
            select e.system, e.operation, e.created_at, e.id from effects e where {_OVERDUE}
            union all
            select e.system, e.operation, e.created_at, e.id from effects e where {_ABANDONED}
        ) as late group by 2, 3
    ) as g left join effects x on x.id = g.first
    order by g.effects desc, g.first limit :limit"""


@dataclass(frozen=True)
class Choice:
    """Which effects somebody looks at; empty fields do not restrict.

    :param state: one of `STATES`; all that is failed, dead or unknown where it is empty.
    :param cause: what effects with the same error have in common, as the groups have it.
    :param workflow: the one that planned them.
    """

    state: str = ""
    system: str = ""
    operation: str = ""
    cause: str = ""
    workflow: str = ""

    @property
    def condition(self) -> str:
        """The SQL that restricts `effects e`."""
        match self.state:
            case "waiting":
                which = f"({_OVERDUE} or {_ABANDONED})"
            case "given_up":
                which = _GIVEN_UP
            case "":
                which = TROUBLE
            case _:
                which = f"{TROUBLE} and e.state = :state"
        columns = {"system": "e.system", "operation": "e.operation", "cause": "e.cause", "workflow": PLANNED_BY}
        return which + "".join(f" and {columns[name]} = :{name}" for name in self.named if name in columns)

    @property
    def values(self) -> dict[str, Any]:
        """The bound values of `condition`."""
        return {**self.named, "long": LONG}

    @property
    def named(self) -> dict[str, str]:
        """The fields that restrict, by name."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True)
class Group:
    """Effects in the same trouble.

    :param cause: None for those that wait; they have no error.
    :param error: that of the first; it may hold personal data.
    :param oldest: when the first was planned.
    """

    state: str
    system: str
    operation: str
    cause: str | None
    effects: int
    oldest: datetime
    first: int
    error: str | None


@dataclass(frozen=True)
class Details:
    """One effect: its row with its case's workflow and state, and the events about it, oldest first."""

    effect: Row[Any]
    events: Sequence[Row[Any]]

    @property
    def workflow(self) -> str:
        """The workflow that planned it."""
        return str(self.effect.key).split("/", 1)[0]


def groups(connection: Connection) -> list[Group]:
    """Return what is in trouble by state, system, operation and cause, the most first; at most `MOST_GROUPS`."""
    return [Group(*row) for row in connection.execute(text(_GROUPS), {"long": LONG, "limit": MOST_GROUPS})]


def listed(connection: Connection, choice: Choice, *, before: int | None = None) -> Sequence[Row[Any]]:
    """Return up to `PAGE` effects of a choice, newest first.

    :param before: go on after the effect with this id.
    """
    return connection.execute(
        text(f"""
            select e.id, e.state, e.system, e.operation, e.target, e.step, e.mode, e.attempts, e.error, e.created_at,
                   e.available_at, e.case_id, {PLANNED_BY} as workflow, {AS_SEEN} as as_seen
            from (select e.id from effects e
                  where {choice.condition} and (cast(:before as bigint) is null or e.id < :before)
                  order by e.id desc limit :limit) as found
            join effects e on e.id = found.id order by e.id desc"""),
        {**choice.values, "before": before, "limit": PAGE},
    ).all()


def chosen(connection: Connection, choice: Choice) -> dict[int, str]:
    """Return all effects of a choice with how they stand, oldest first."""
    found = connection.execute(
        text(f"select e.id, {AS_SEEN} as as_seen from effects e where {choice.condition} order by e.id"), choice.values
    )
    return {row.id: row.as_seen for row in found}


def details(connection: Connection, effect_id: int) -> Details | None:
    """Return one effect with what happened to it, or None where there is none."""
    effect = connection.execute(
        text(f"""
            select e.*, c.workflow as case_workflow, c.state as case_state, c.stage as case_stage,
                   starts_with(e.error, :withdrawn) as withdrawn, {AS_SEEN} as as_seen
            from effects e left join cases c on c.id = e.case_id where e.id = :id"""),
        {"id": effect_id, "withdrawn": WITHDRAWN},
    ).one_or_none()
    if effect is None:
        return None
    events = connection.execute(
        text(f"""
            select at, kind, actor, run_id, detail from events
            where {"case_id is null" if effect.case_id is None else "case_id = :case_id"} and kind like 'effect %'
              and detail->>'effect' = cast(:id as text)
            order by id"""),
        {"case_id": effect.case_id, "id": effect_id},
    ).all()
    return Details(effect, events)
