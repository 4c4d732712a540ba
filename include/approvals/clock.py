"""What time does to a round: reminds, asks the next in line, and at last lets it expire. It never approves.

Looking is safe at any time, by anybody, twice at once: what is due is done once, and what is not due is not done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from include.approvals import rounds
from include.approvals.people import People, people
from include.approvals.times import EXPIRES_AFTER, after
from include.cases import store


@dataclass(frozen=True)
class Milestones:
    """What became due, and was applied, when somebody looked.

    :param remind: whom to remind now; nobody else who looks is told the same.
    :param escalated: who is asked now, too.
    :param expired: the round has run out of time, now or before.
    :param next_at: when to look again; None when time does nothing more.
    """

    remind: list[str] = field(default_factory=list)
    escalated: list[str] = field(default_factory=list)
    expired: bool = False
    next_at: datetime | None = None


@dataclass(frozen=True)
class _Stage:
    id: int
    number: int
    needed: int
    within: timedelta
    remind_at: datetime | None
    escalate_at: datetime | None
    expires_at: datetime | None


def look(connection: Connection, round_id: int, now: datetime | None = None) -> Milestones:
    """Apply what is due in a round, in an authored transaction; plan the messages about it in the same one.

    Somebody who has left is replaced at once by the next in line, where too few could decide without them.
    """
    case_id = rounds.lock(connection, round_id)
    if case_id is None:
        return Milestones()
    now = now or rounds.clock_of(connection)
    standing = connection.execute(
        text("""
            select r.state, r.number, r.requester, c.state as case_state
            from approval_rounds r join cases c on c.id = r.case_id where r.id = :id"""),
        {"id": round_id},
    ).one()
    if standing.state not in ("open", "asked"):
        return Milestones(expired=standing.state == "expired")
    detail = {"round": round_id, "number": standing.number}
    if standing.case_state in ("finished", "rejected"):
        rounds.close(connection, {round_id: "void"}, now)
        store.record(connection, "approval.void", [case_id], detail)
        return Milestones()
    known = people()
    stage = _open_stage(connection, round_id)
    detail["stage"] = stage.number
    escalated: list[str] = []
    undecided: list[str] = []
    if standing.state == "open":
        undecided, escalated = _next_in_line(connection, stage, standing.requester, known, now)
    if escalated or (stage.escalate_at is not None and stage.escalate_at <= now):
        expires_at = after(now, stage.within * EXPIRES_AFTER, escalated or undecided, known)
        stage = replace(stage, escalate_at=None, expires_at=expires_at)
        if escalated:
            stage = replace(stage, **rounds.first_times(now, stage.within, escalated, known))
        _escalate(connection, stage, escalated, now)
    elif stage.expires_at is not None and stage.expires_at <= now:
        rounds.close(connection, {round_id: "expired"}, now)
        store.record(connection, "approval.expired", [case_id], detail)
        return Milestones(expired=True)
    if escalated:
        store.record(connection, "approval.escalated", [case_id], {**detail, "persons": escalated})
    rounds.hand_to_first(connection, round_id)
    remind: list[str] = []
    if stage.remind_at is not None and stage.remind_at <= now:
        waits = rounds.get(connection, round_id, now)
        remind = waits.waits_for if waits else []
        connection.execute(text("update approval_stages set remind_at = null where id = :id"), {"id": stage.id})
        store.record(connection, "approval.reminded", [case_id], {**detail, "persons": remind})
    times = [stage.escalate_at, stage.expires_at, None if remind else stage.remind_at]
    return Milestones(remind, escalated, False, min((each for each in times if each is not None), default=None))


def due(connection: Connection, now: datetime | None = None, limit: int = 1_000) -> list[int]:
    """Return rounds in which something is due, longest first; for whoever sweeps."""
    return list(
        connection.execute(
            text("""
                select r.id from approval_rounds r join approval_stages s on s.round_id = r.id and s.state = 'open'
                where r.state in ('open', 'asked')
                  and least(s.remind_at, s.escalate_at, s.expires_at) <= coalesce(:now, clock_timestamp())
                order by least(s.remind_at, s.escalate_at, s.expires_at) limit :limit"""),
            {"now": now, "limit": limit},
        ).scalars()
    )


def _open_stage(connection: Connection, round_id: int) -> _Stage:
    row: Any = connection.execute(
        text("""
            select id, number, needed, within, remind_at, escalate_at, expires_at from approval_stages
            where round_id = :id and state = 'open'"""),
        {"id": round_id},
    ).one()
    return _Stage(*row)


def _next_in_line(
    connection: Connection, stage: _Stage, requester: str, known: People, now: datetime
) -> tuple[list[str], list[str]]:
    """Who has not decided; and who is asked besides: above all of these when that is due, else above who has left."""
    seats = connection.execute(
        text("""
            select seat.person, d.person as decider from approval_seats seat
            left join approval_decisions d on d.stage_id = seat.stage_id and d.seat = seat.person
                                          and d.answer in ('approve', 'reject')
            where seat.stage_id = :id order by seat.place"""),
        {"id": stage.id},
    ).all()
    deciders = {row.decider for row in seats if row.decider}
    undecided = [row.person for row in seats if row.decider is None and row.person not in deciders]
    here = [person for person in undecided if known.decides(person)]
    missing = stage.needed - len(deciders) - len(here)
    due = stage.escalate_at is not None and stage.escalate_at <= now
    without = {requester, *deciders, *(row.person for row in seats)}
    found: list[str] = []
    for person in undecided:
        if due or (person not in here and missing > len(found)):
            above = known.next_in_line(person, without)
            if above is not None:
                found.append(above.id)
                without.add(above.id)
    return undecided, found


def _escalate(connection: Connection, stage: _Stage, escalated: Sequence[str], now: datetime) -> None:
    """Seat the next in line, and keep the times that begin with it."""
    connection.execute(
        text("""
            insert into approval_seats (stage_id, place, person, via, added_at)
            select :id, (select max(place) from approval_seats where stage_id = :id) + ordinality, person,
                   'escalation', :now
            from unnest(cast(:persons as text[])) with ordinality as v(person, ordinality)"""),
        {"id": stage.id, "persons": list(escalated), "now": now},
    )
    connection.execute(
        text("""
            update approval_stages set remind_at = :remind_at, escalate_at = :escalate_at, expires_at = :expires_at
            where id = :id"""),
        {
            "id": stage.id,
            "remind_at": stage.remind_at,
            "escalate_at": stage.escalate_at,
            "expires_at": stage.expires_at,
        },
    )
