"""Rounds: one asking about one content of one case. Opens them, tells how they stand, and wakes cases at their end.

What a person may answer is decisions.py's part, and what time does is clock.py's. Everybody locks the case first, and
its round after it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.approvals.delegations import deputies_now, stood_in_for
from include.approvals.people import People, people
from include.approvals.policy import Routing
from include.approvals.times import after
from include.cases import store


def digest_of(content: Any) -> str:
    """SHA-256 of `content` as canonical JSON; amounts are given as text, never as floats.

    :raises ValueError: for a value that has no one form, such as a float.
    """
    _refuse_floats(content)
    return hashlib.sha256(orjson.dumps(content, default=str, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _refuse_floats(content: Any) -> None:
    if isinstance(content, float):
        raise ValueError(f"{content!r} has more than one form; give an amount as Decimal or text")
    if isinstance(content, Mapping):
        content = content.values()
    elif isinstance(content, str) or not isinstance(content, Collection):
        return
    for each in content:
        _refuse_floats(each)


@dataclass(frozen=True)
class Ask:
    """What is asked about a case.

    :param requester: id of the person who wants it, and who therefore never decides on it.
    :param shown: label and value of everything that a person decides on.
    :param digest: of the content; another one is another question.
    """

    case_id: int
    workflow: str
    requester: str
    title: str
    shown: Sequence[Sequence[str]]
    digest: str
    routing: Routing


@dataclass(frozen=True)
class Round:
    """How a round stands.

    :param waits_for: who has to act, the one who has it first: seats that are undecided, or the requester when asked.
    :param may_decide: these and whoever stands in for them today.
    :param stage: number of the open stage, or None.
    :param concluded: its end was told to the case.
    :param settled: the case has drawn the consequence of its end.
    """

    id: int
    case_id: int
    workflow: str
    number: int
    state: str
    digest: str
    run_id: str
    requester: str
    title: str
    policy: str
    stage: int | None
    opened_at: datetime
    closed_at: datetime | None
    waits_for: list[str]
    may_decide: list[str]
    concluded: bool
    settled: bool

    @property
    def is_open(self) -> bool:
        """Whether somebody is still to act."""
        return self.state in ("open", "asked")


@dataclass(frozen=True)
class Waiting:
    """A round that waits, for a list of what there is to do.

    :param who: those it waits for, the one who has it first.
    :param since: when the open stage was opened, or the requester was asked.
    :param late: it is past its due time.
    """

    round_id: int
    case_id: int
    workflow: str
    number: int
    state: str
    title: str
    requester: str
    digest: str
    stage: int
    who: list[str]
    since: datetime
    due: datetime | None
    late: bool


def open_rounds(connection: Connection, asks: Sequence[Ask], now: datetime | None = None) -> dict[int, Round]:
    """Ask about each case, and return the round in which it stands.

    Asking again the same changes nothing. An open round with another digest becomes void, and so does what was
    approved in it; so a round that is decided with the same digest is returned as it is. A round that expired, or
    became void, is followed by another one.

    :raises ValueError: for an ask without stages, or one that would ask the requester.
    """
    ids = [ask.case_id for ask in asks]
    if len(set(ids)) < len(ids):
        raise ValueError("a case is asked about once at a time")
    for ask in asks:
        if not ask.routing.stages:
            raise ValueError(f"case {ask.case_id} is approved by rule, and asks nobody")
        if any(ask.requester in stage.seats for stage in ask.routing.stages):
            raise ValueError(f"case {ask.case_id} would ask the requester about their own request; route it anew")
    if not asks:
        return {}
    store.lock(connection, ids)
    connection.execute(
        text("select 1 from approval_rounds where case_id = any(:ids) order by id for update"), {"ids": ids}
    )
    now = now or clock_of(connection)
    standing = latest(connection, ids)
    to_ask, void = [], []
    for ask in asks:
        last = standing.get(ask.case_id)
        if last is None or last.digest != ask.digest or last.state in ("void", "expired"):
            to_ask.append((ask, last.number + 1 if last else 1))
            if last is not None and last.is_open:
                void.append(last)
    close(connection, {each.id: "void" for each in void}, now)
    store.record_each(
        connection, "approval.void", {each.case_id: {"round": each.id, "number": each.number} for each in void}
    )
    if to_ask:
        _insert(connection, to_ask, now)
    return latest(connection, ids)


def _insert(connection: Connection, asks: Sequence[tuple[Ask, int]], now: datetime) -> None:
    known = people()
    opened = connection.execute(
        text("""
            insert into approval_rounds (case_id, workflow, number, requester, title, shown, digest, policy, run_id,
                                         opened_at)
            select case_id, workflow, number, requester, title, shown, digest, policy,
                   workflow || '_' || case_id || '_' || number, :now
            from jsonb_to_recordset(:rows) as v(case_id bigint, workflow text, number integer, requester text,
                                                title text, shown jsonb, digest text, policy text)
            returning case_id, id"""),
        {
            "now": now,
            "rows": Jsonb(
                [
                    {
                        "case_id": ask.case_id,
                        "workflow": ask.workflow,
                        "number": number,
                        "requester": ask.requester,
                        "title": ask.title,
                        "shown": [list(entry) for entry in ask.shown],
                        "digest": ask.digest,
                        "policy": ask.routing.policy,
                    }
                    for ask, number in asks
                ]
            ),
        },
    )
    round_of: dict[int, int] = {row.case_id: row.id for row in opened}
    stages, seats, events = [], [], {}
    for ask, number in asks:
        round_id = round_of[ask.case_id]
        for plan in ask.routing.stages:
            stages.append(
                {
                    "round_id": round_id,
                    "number": plan.number,
                    "rule": plan.rule,
                    "why": plan.why,
                    "needed": plan.needed,
                    "seconds": plan.within.total_seconds(),
                    **(first_times(now, plan.within, plan.seats, known) if plan.number == 1 else {}),
                }
            )
            seats += [
                {"round_id": round_id, "number": plan.number, "place": place, "person": person}
                for place, person in enumerate(plan.seats, 1)
            ]
        events[ask.case_id] = {
            "round": round_id,
            "number": number,
            "stages": [
                {"rule": plan.rule, "seats": list(plan.seats), "needed": plan.needed} for plan in ask.routing.stages
            ],
            "policy": ask.routing.policy,
            "digest": ask.digest,
        }
    connection.execute(
        text("""
            with stages as (
                insert into approval_stages (round_id, number, rule, why, needed, within, state, opened_at, remind_at,
                                             escalate_at, due_at)
                select round_id, number, rule, why, needed, make_interval(secs => seconds),
                       case number when 1 then 'open' else 'planned' end, case number when 1 then :now end,
                       remind_at, escalate_at, escalate_at
                from jsonb_to_recordset(:stages) as v(round_id bigint, number integer, rule text, why text,
                     needed integer, seconds double precision, remind_at timestamptz, escalate_at timestamptz)
                returning id, round_id, number
            )
            insert into approval_seats (stage_id, place, person, via, added_at)
            select stages.id, v.place, v.person, 'policy', :now
            from jsonb_to_recordset(:seats) as v(round_id bigint, number integer, place integer, person text)
            join stages using (round_id, number)"""),
        {"now": now, "stages": Jsonb(stages), "seats": Jsonb(seats)},
    )
    store.record_each(connection, "approval.opened", events)


def first_times(now: datetime, within: timedelta, persons: Sequence[str], known: People) -> dict[str, Any]:
    """When those who are asked from now on are reminded, and when it goes to the next in line."""
    return {
        "remind_at": after(now, within / 2, persons, known),
        "escalate_at": after(now, within, persons, known),
    }


def latest(connection: Connection, case_ids: Sequence[int], now: datetime | None = None) -> dict[int, Round]:
    """Return the last round of each case that has one."""
    found = _standing(
        connection,
        """r.case_id = any(:ids)
           and r.number = (select max(number) from approval_rounds newer where newer.case_id = r.case_id)""",
        {"ids": list(case_ids)},
        now,
    )
    return {each.case_id: each for each in found}


def get(connection: Connection, round_id: int, now: datetime | None = None) -> Round | None:
    """Return how a round stands, or None when there is no such round."""
    return next(iter(_standing(connection, "r.id = :id", {"id": round_id}, now)), None)


_FIRST = "case seat.via when 'escalation' then -seat.place else seat.place end"
"""Order of seats: whom it was escalated to last comes first, then as the policy names them."""

_UNDECIDED = f"""
    left join lateral (
        select array_agg(seat.person order by {_FIRST}) as persons
        from approval_seats seat
        where seat.stage_id = s.id and not exists (
            select from approval_decisions d
            where d.stage_id = s.id and d.answer in ('approve', 'reject') and seat.person in (d.seat, d.person))
    ) undecided on true"""
"""The seats of the open stage `s` that have not decided."""


def _standing(connection: Connection, which: str, values: Mapping[str, Any], now: datetime | None) -> list[Round]:
    rows = connection.execute(
        text(f"""
            select r.id, r.case_id, r.workflow, r.number, r.state, r.digest, r.run_id, r.requester, r.title, r.policy,
                   r.opened_at, r.closed_at, r.concluded_at is not null as concluded,
                   r.settled_at is not null as settled, s.number as stage, undecided.persons,
                   array(select d.person from approval_decisions d
                         where d.stage_id = s.id and d.answer in ('approve', 'reject')) as deciders
            from approval_rounds r
            left join approval_stages s on s.round_id = r.id and s.state = 'open'
            {_UNDECIDED}
            where {which} order by r.id"""),
        values,
    ).all()
    known = people()
    seats = {person for row in rows if row.state == "open" for person in row.persons or ()}
    standing_in = deputies_now(connection, seats, now or clock_of(connection)) if seats else {}
    found = []
    for row in rows:
        waits_for = waits(row.state, row.requester, row.persons or (), known)
        may_decide = list(waits_for)
        for seat in waits_for if row.state == "open" else ():
            for delegation in standing_in.get(seat, ()):
                if delegation.deputy not in (row.requester, *row.deciders, *may_decide):
                    may_decide.append(delegation.deputy)
        found.append(
            Round(
                row.id,
                row.case_id,
                row.workflow,
                row.number,
                row.state,
                row.digest,
                row.run_id,
                row.requester,
                row.title,
                row.policy,
                row.stage,
                row.opened_at,
                row.closed_at,
                waits_for,
                may_decide,
                row.concluded,
                row.settled,
            )
        )
    return found


def waits(state: str, requester: str, undecided: Sequence[str], known: People) -> list[str]:
    """Whom a round waits for, given the undecided seats of its open stage; who has left is not waited for."""
    if state == "asked":
        return [requester]
    if state != "open":
        return []
    return [person for person in undecided if known.decides(person) and person != requester]


_BEHIND = "coalesce(cast(:after_since as timestamptz), '-infinity'), coalesce(cast(:after_id as bigint), 0)"
"""Where a list of what waits begins: since when, and the round."""


def waiting(
    connection: Connection,
    workflow: str | None = None,
    person: str | None = None,
    now: datetime | None = None,
    *,
    late: bool = False,
    after: tuple[datetime, int] | None = None,
    limit: int | None = None,
) -> list[Waiting]:
    """Return the rounds that wait for somebody, longest first.

    :param person: only rounds in which this person can act now, as a stand-in too.
    :param late: only rounds that are past their due time.
    :param after: `since` and id of the round after which a further page begins.
    """
    now = now or clock_of(connection)
    known = people()
    persons = [] if person is None else [person, *stood_in_for(connection, person, now)]
    after_since, after_id = after or (None, None)
    rows = connection.execute(
        text(f"""
            -- The longest open stages first, each looked at by itself until the list is full: `offset 0` keeps the
            -- planner from joining all that is open before it sorts.
            with undecided_by_them as (
                select r.*, s.number as stage, s.id as stage_id, s.due_at, s.opened_at as since
                from approval_stages s, lateral (
                    select r.id, r.case_id, r.workflow, r.number, r.state, r.title, r.requester, r.digest
                    from approval_rounds r join cases c on c.id = r.case_id and c.state not in ('finished', 'rejected')
                    where r.id = s.round_id and r.state = 'open'
                      and (cast(:workflow as text) is null or r.workflow = :workflow)
                      and (cast(:person as text) is null or r.requester <> :person) offset 0) r
                where s.state = 'open' and (s.opened_at, s.round_id) > ({_BEHIND}) and (not :late or s.due_at < :now)
                  and (cast(:person as text) is null or exists (
                          select from approval_seats seat
                          where seat.stage_id = s.id and seat.person = any(:persons) and not exists (
                              select from approval_decisions d
                              where d.stage_id = s.id and d.answer in ('approve', 'reject')
                                and (seat.person in (d.seat, d.person) or d.person = :person)) offset 0))
                order by s.opened_at, s.round_id limit :limit
            ), unanswered as (
                select r.id, r.case_id, r.workflow, r.number, r.state, r.title, r.requester, r.digest,
                       s.number as stage, s.id as stage_id, s.due_at, coalesce(question.at, s.opened_at) as since
                from approval_rounds r
                join cases c on c.id = r.case_id and c.state not in ('finished', 'rejected')
                join approval_stages s on s.round_id = r.id and s.state = 'open'
                left join lateral (
                    select max(d.at) as at from approval_decisions d
                    where d.round_id = r.id and d.answer = 'ask') question on true
                where r.state = 'asked' and (coalesce(question.at, s.opened_at), r.id) > ({_BEHIND})
                  and (cast(:workflow as text) is null or r.workflow = :workflow)
                  and (not :late or s.due_at < :now)
                  and (cast(:person as text) is null or r.requester = :person)
            ), asked as materialized (
                select * from (table undecided_by_them union all table unanswered) found
                order by since, id limit :limit
            ), undecided as (
                select seat.stage_id, array_agg(seat.person order by {_FIRST}) as persons
                from asked join approval_seats seat using (stage_id)
                left join approval_decisions d on d.stage_id = seat.stage_id and d.answer in ('approve', 'reject')
                                              and seat.person in (d.seat, d.person)
                where d.id is null group by seat.stage_id
            )
            select asked.*, undecided.persons from asked left join undecided using (stage_id)
            order by since, asked.id"""),
        {
            "workflow": workflow,
            "person": person,
            "persons": persons,
            "now": now,
            "late": late,
            "after_since": after_since,
            "after_id": after_id,
            "limit": limit,
        },
    )
    found = []
    for row in rows:
        who = waits(row.state, row.requester, row.persons or (), known)
        found.append(
            Waiting(
                row.id,
                row.case_id,
                row.workflow,
                row.number,
                row.state,
                row.title,
                row.requester,
                row.digest,
                row.stage,
                who,
                row.since,
                row.due_at,
                row.due_at is not None and row.due_at < now,
            )
        )
    return found


def close(connection: Connection, states: Mapping[int, str], now: datetime) -> None:
    """Close rounds, each with its state, and what is left of their stages."""
    if not states:
        return
    connection.execute(
        text("""
            with closed as (
                update approval_rounds r set state = v.value, closed_at = :now
                from jsonb_each_text(:states) as v where r.id = v.key::bigint returning r.id
            )
            update approval_stages s set state = 'closed', remind_at = null, escalate_at = null, expires_at = null
            from closed where s.round_id = closed.id and s.state in ('planned', 'open')"""),
        {"states": Jsonb({str(round_id): state for round_id, state in states.items()}), "now": now},
    )


def hand_to_first(connection: Connection, round_id: int) -> None:
    """Make whom a round waits for first the owner of its case, while that waits."""
    standing = get(connection, round_id)
    if standing is not None and standing.waits_for:
        connection.execute(
            text("""
                update cases set owner = :owner, updated_at = now()
                where id = :id and state = 'waiting' and owner <> :owner"""),
            {"id": standing.case_id, "owner": standing.waits_for[0]},
        )


def conclude(connection: Connection, round_id: int) -> bool:
    """Let the case of a closed round look at how it ended; doing so twice does nothing.

    A void round has a successor, which the case waits for, so it wakes nobody.

    :returns: whether it was closed and nobody had concluded it yet.
    """
    if not lock(connection, round_id):
        return False
    concluded = connection.execute(
        text("""
            update approval_rounds set concluded_at = clock_timestamp()
            where id = :id and closed_at is not null and concluded_at is null returning case_id, state"""),
        {"id": round_id},
    ).first()
    if concluded is None:
        return False
    if concluded.state != "void":
        store.wake(connection, [concluded.case_id])
    return True


def unconcluded(connection: Connection, older_than: timedelta = timedelta(0), limit: int = 1_000) -> list[int]:
    """Return rounds that closed so long ago and were not concluded, oldest first: whoever should have, died."""
    return list(
        connection.execute(
            text("""
                select id from approval_rounds
                where concluded_at is null and closed_at <= clock_timestamp() - cast(:age as interval)
                order by closed_at limit :limit"""),
            {"age": older_than, "limit": limit},
        ).scalars()
    )


def settle(connection: Connection, round_ids: Sequence[int]) -> None:
    """Keep that the cases have drawn the consequence of these rounds' end, so that it is not drawn again.

    A case that was set aside because time ran out, and is released, is then asked about anew.
    """
    connection.execute(
        text("""
            update approval_rounds set settled_at = coalesce(settled_at, now())
            where id = any(:ids) and closed_at is not null"""),
        {"ids": list(round_ids)},
    )


def lock(connection: Connection, round_id: int) -> int | None:
    """Hold the case of a round, then the round, until the transaction ends.

    :returns: the case, or None when there is no such round.
    """
    case_id: int | None = connection.execute(
        text("select case_id from approval_rounds where id = :id"), {"id": round_id}
    ).scalar_one_or_none()
    if case_id is not None:
        store.lock(connection, [case_id])
        connection.execute(text("select 1 from approval_rounds where id = :id for update"), {"id": round_id})
    return case_id


def clock_of(connection: Connection) -> datetime:
    """The database's time: one clock for everybody, whatever machine they are on."""
    now: datetime = connection.execute(text("select clock_timestamp()")).scalar_one()
    return now
