"""Service levels as facts: which cases and steps run against which due time, and which were met or missed.

Worked out from the events, never from when somebody looked. Telling people is for `telling`, beside this.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Engine, Row, text

from include.contracts.registry import contracts
from include.data.database import authored
from include.data.frames import copy_rows
from include.monitoring.service_levels.clock import Move, levels
from include.monitoring.watching import turns

MOST_EVENTS = 500_000
"""Events that one transaction goes over."""
MOST_CASES = 10_000
"""Cases that are measured, or get their due time, at once."""
LONGEST_LOOK = 60.0
"""Seconds after which a look leaves the rest to the next one."""

_MOVES = [
    "received", "handed over", "claimed", "put back", "released", "waiting", "quarantined", "finished", "rejected",
    "advanced", "changed",
]  # fmt: skip
"""The events that the database itself writes of a case: what such a one says of step and state was so."""
_DECIDED = "approval.decided"
"""Says beside whether the answer was a question to the requester."""

TROUBLED = """
    select workflow, case_id, late from (
        select workflow, case_id, bool_or(due_at < now()) as late from service_levels
        where ended_at is null and warn_at < now() and due_at is not null group by 1, 2
    ) as troubled where case_id not in (select id from cases where closed_at > now() - interval '1 day')"""
"""The open cases that are late, or soon will be, without those that ended since the last look, which is minutes ago."""

_COLUMNS = ("case_id", "workflow", "step", "visit", "started_at", "warn_at", "due_at", "escalate_at", "ended_at",
            "stopped", "stopped_since", "on_case")  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """What one look came to: levels that are new or different, and those that became late, or nearly, meanwhile."""

    measured: int
    passed: int


@dataclass(frozen=True)
class Lateness:
    """Cases of a workflow that are late, as a whole or at their step, and others that soon will be."""

    late: int = 0
    soon: int = 0


@dataclass(frozen=True)
class Week:
    """How a service level was kept in one week.

    :param step: None for the whole case.
    :param week: its Monday; a level counts in the week (UTC) in which it was met, or became due and was missed.
    """

    workflow: str
    step: str | None
    week: date
    met: int
    missed: int

    @property
    def share(self) -> float:
        """The share that was met, 0 to 1."""
        return self.met / (self.met + self.missed)


def keep_up(engine: Engine) -> Kept:
    """Bring the facts, and the cases' due times, up to what has happened until now.

    Only cases with new events are measured, each from its whole history, so a look may come late, twice, or die. What
    has ended keeps its outcome when the contract changes later; what is open follows the contract at its next move.
    """
    until = time.monotonic() + LONGEST_LOOK
    measured, begun, position = 0, None, 0
    while begun is None or (position < begun.newest and time.monotonic() < until):
        with engine.begin() as connection:
            # Two looks at once would otherwise measure the same.
            turns.take(connection, "service_levels", patient=True)
            if begun is None:
                begun = _begin(connection)
                position = begun.seen_event
            last = _last_event(connection, position, begun.newest)
            for case_ids in _in_parts(_moved(connection, position, last)):
                measured += _measure(connection, case_ids)
            _seen(connection, begun, last)
            position = last
    with engine.begin() as connection:
        passed = _pass_time(connection)
    while _show_due_times(engine) >= MOST_CASES and time.monotonic() < until:
        pass
    return Kept(measured, passed)


def lateness(connection: Connection) -> dict[str, Lateness]:
    """Return, by workflow, the open cases that are late or soon will be; workflows without any are left out."""
    found = connection.execute(
        text(f"""
            select workflow, count(*) filter (where late) as late, count(*) filter (where not late) as soon
            from ({TROUBLED}) as troubled group by workflow""")
    )
    return {row.workflow: Lateness(row.late, row.soon) for row in found}


def met_over_time(connection: Connection, since: date) -> list[Week]:
    """Return how each service level was kept in the week of `since` and every week after it, whole cases first."""
    found = connection.execute(
        text("""
            select workflow, step, week, met, missed from service_level_weeks
            where week >= date_trunc('week', cast(:since as timestamp))::date and met + missed > 0
            order by workflow, step nulls first, week"""),
        {"since": since},
    )
    return [Week(*row) for row in found]


def over_all(weeks: Iterable[Week]) -> list[Week]:
    """Return one entry for each service level, of its first week, with the sums of all; the least kept first."""
    sums: dict[tuple[str, str | None], Week] = {}
    for week in weeks:
        so_far = sums.get((week.workflow, week.step))
        sums[week.workflow, week.step] = (
            week if so_far is None else replace(so_far, met=so_far.met + week.met, missed=so_far.missed + week.missed)
        )
    return sorted(sums.values(), key=lambda each: each.share)


def _begin(connection: Connection) -> Row[Any]:
    """Where the looks before this one came to, the newest event, and up to which one nothing can appear any more.

    Transactions end in another order than their events are numbered. What is not visible below the newest event was
    begun before now; so nothing is missing there once every transaction has ended that has begun by now.
    """
    return connection.execute(
        text("""
            select seen_event, next_event, over, case when over then next_event else seen_event end as sure,
                   (select coalesce(max(id), 0) from events) as newest,
                   pg_snapshot_xmax(pg_current_snapshot())::text as next_xid
            from service_level_looks, lateral (select next_xid <= pg_snapshot_xmin(pg_current_snapshot()) as over)""")
    ).one()


def _seen(connection: Connection, begun: Row[Any], last: int) -> None:
    """Keep how far this look came; what may still appear below is gone over again by the next one."""
    connection.execute(
        text("update service_level_looks set seen_event = :seen where seen_event < :seen"),
        {"seen": min(last, begun.sure)},
    )
    if begun.over and begun.next_event < begun.newest:
        connection.execute(
            text("update service_level_looks set next_event = :newest, next_xid = cast(:next_xid as xid8)"),
            {"newest": begun.newest, "next_xid": begun.next_xid},
        )


def _last_event(connection: Connection, position: int, newest: int) -> int:
    found = connection.execute(
        text("""
            select max(id) from (select id from events where id > :position and id <= :newest
                                 order by id limit :most) as part"""),
        {"position": position, "newest": newest, "most": MOST_EVENTS},
    ).scalar_one()
    return newest if found is None else int(found)


def _moved(connection: Connection, position: int, last: int) -> list[int]:
    """The cases that something happened to, without those that had ended with it when they were measured."""
    found = connection.execute(
        text("""
            select case_id from (
                select case_id, max(at) as at from events
                where id > :position and id <= :last and case_id is not null
                  and (kind = any(:moves) or kind = :decided) group by case_id
            ) as moved
            where not exists (select from service_levels s
                              where s.case_id = moved.case_id and s.step is null and s.ended_at >= moved.at)
            order by case_id"""),
        {"position": position, "last": last, "moves": _MOVES, "decided": _DECIDED},
    )
    return list(found.scalars())


def _in_parts(case_ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (case_ids[start : start + MOST_CASES] for start in range(0, len(case_ids), MOST_CASES))


def _measure(connection: Connection, case_ids: Sequence[int]) -> int:
    """Work out the levels of these cases from their whole histories, and write those that are new or different."""
    histories = connection.execute(
        text("""
            select id, workflow, received_at, at, stage, state, asked from (
                select c.id, c.workflow, coalesce(d.received_at, c.created_at) as received_at, e.id as event, e.at,
                       e.stage, e.state,
                       case when e.kind = :decided
                            then coalesce(e.detail->>'round_state' = 'asked', false) end as asked,
                       (lag(e.stage) over story, replace(lag(e.state) over story, 'pending', 'running'))
                           is distinct from (e.stage, replace(e.state, 'pending', 'running')) as moved
                from cases c join events e on e.case_id = c.id left join deliveries d on d.id = c.delivery_id
                where c.id = any(:ids) and (e.kind = any(:moves) or e.kind = :decided)
                window story as (partition by c.id, e.kind = :decided order by e.id)
            ) as told
            where moved or asked is not null order by id, event"""),
        {"ids": list(case_ids), "moves": _MOVES, "decided": _DECIDED},
    )
    connection.execute(
        text("create temporary table if not exists measured (like service_levels) on commit delete rows")
    )
    copy_rows(connection, "measured", _COLUMNS, _rows(histories))
    written = connection.execute(
        text("""
            insert into service_levels as known
                (case_id, workflow, step, visit, started_at, warn_at, due_at, escalate_at, ended_at, stopped,
                 stopped_since, warned_at, missed_at, escalated_at, met_at, on_case)
            select case_id, workflow, step, visit, started_at, warn_at, due_at, escalate_at, ended_at, stopped,
                   stopped_since,
                   case when warn_at < coalesce(ended_at, now()) then warn_at end,
                   case when due_at < coalesce(ended_at, now()) then due_at end,
                   case when escalate_at < coalesce(ended_at, now()) then escalate_at end,
                   case when due_at < ended_at then null else ended_at end,
                   on_case
            from measured
            on conflict (case_id, step, visit) do update set
                started_at = excluded.started_at, warn_at = excluded.warn_at, due_at = excluded.due_at,
                escalate_at = excluded.escalate_at, ended_at = excluded.ended_at, stopped = excluded.stopped,
                stopped_since = excluded.stopped_since, warned_at = excluded.warned_at,
                missed_at = excluded.missed_at, escalated_at = excluded.escalated_at, met_at = excluded.met_at,
                on_case = known.on_case and known.due_at is not distinct from excluded.due_at
            where known.ended_at is null
              and (known.warn_at, known.due_at, known.escalate_at, known.ended_at, known.stopped, known.stopped_since)
                  is distinct from (excluded.warn_at, excluded.due_at, excluded.escalate_at, excluded.ended_at,
                                    excluded.stopped, excluded.stopped_since)""")
    ).rowcount
    connection.execute(text("delete from measured"))
    return written


def _rows(histories: Iterable[Row[Any]]) -> Iterable[Sequence[Any]]:
    declared = contracts()
    for (case_id, workflow, received), events in groupby(histories, key=_case):
        if workflow in declared:
            for level in levels(declared[workflow], received, list(_moves(events))):
                yield (
                    case_id, workflow, level.step, level.visit, level.started_at, level.warn_at, level.due_at,
                    level.escalate_at, level.ended_at, level.stopped, level.stopped_since, False,
                )  # fmt: skip


def _case(event: Row[Any]) -> tuple[Any, Any, Any]:
    return event.id, event.workflow, event.received_at


def _moves(events: Iterable[Row[Any]]) -> Iterable[Move]:
    """The moves of a case; from a question to the requester until it is answered, a waiting case is `asked`."""
    step, state, is_asked = "", "", False
    for event in events:
        if event.asked is None:
            step, state = event.stage, event.state
        is_asked = state == "waiting" and (is_asked if event.asked is None else event.asked)
        yield Move(event.at, step, "asked" if is_asked else state)


def _pass_time(connection: Connection) -> int:
    """Write down what became late, or nearly, only because time went on."""
    return connection.execute(
        text("""
            update service_levels set
                warned_at = warn_at,
                missed_at = case when due_at < now() then due_at end,
                escalated_at = case when escalate_at < now() then escalate_at end
            where ended_at is null and warn_at < now()
              and (warned_at is null or (missed_at is null and due_at < now())
                   or (escalated_at is null and escalate_at < now()))""")
    ).rowcount


def _show_due_times(engine: Engine) -> int:
    """Give cases their own due time; those that somebody works on right now get it at the next look.

    :returns: how many got theirs, at most `MOST_CASES`.
    """
    with authored(engine, actor="system:service levels") as connection:
        return connection.execute(
            text("""
                with newest as (
                    select distinct on (case_id) case_id, due_at from service_levels
                    where step is null and not on_case order by case_id, visit desc
                ), held as (
                    select id, newest.due_at from newest join cases on id = case_id
                    order by id limit :most for no key update of cases skip locked
                ), shown as (
                    update cases set due_at = held.due_at from held
                    where cases.id = held.id and cases.due_at is distinct from held.due_at
                )
                update service_levels set on_case = true from held
                where case_id = held.id and step is null and not on_case"""),
            {"most": MOST_CASES},
        ).rowcount
