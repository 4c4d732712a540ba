"""One answer of one person to one round: checked, recorded for good, and followed by what the policy says.

Every route by which an answer can come calls `decide`, and none of them decides anything itself. Telling people and
waking the case are the caller's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from include.approvals import rounds
from include.approvals.delegations import stood_in_for
from include.approvals.people import People, people
from include.approvals.times import EXPIRES_AFTER, after
from include.cases import store

OF_APPROVERS = ("approve", "reject", "ask")
OF_REQUESTER = ("answer", "withdraw")
NEED_A_COMMENT = {
    "reject": "say why you reject: the requester reads it",
    "ask": "say what you want to know: the requester reads it",
    "answer": "write the answer: those who asked read it",
}

_ENDS = {"reject": "rejected", "withdraw": "withdrawn"}
_DONE = {"approve": "approved", "reject": "rejected"}
_BY = {"airflow": "in Airflow", "slack": "by Slack", "page": "on the page"}


class Refused(ValueError):
    """An answer that changes nothing; `code` is for machines, the message for whoever gave it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Decision:
    """What an answer came to.

    :param stage: number of the stage that it was given in; None for what the requester says.
    :param seat: whose place was decided for: the person's own, or of whom they stand in for.
    :param round_state: of the round, after it.
    """

    id: int
    round_id: int
    case_id: int
    answer: str
    person: str
    stage: int | None
    seat: str | None
    round_state: str
    stage_closed: bool
    round_closed: bool


@dataclass(frozen=True)
class _Stage:
    id: int
    number: int
    state: str
    needed: int
    within: timedelta
    expires_at: datetime | None
    seats: Sequence[str]


@dataclass(frozen=True)
class _Given:
    stage_id: int
    seat: str
    person: str
    answer: str
    route: str
    at: datetime


@dataclass(frozen=True)
class _Asked:
    """A round as it stands while it is locked."""

    id: int
    case_id: int
    number: int
    state: str
    requester: str
    digest: str
    closed_at: datetime | None
    case_state: str
    stages: Sequence[_Stage]
    given: Sequence[_Given]

    @property
    def open_stage(self) -> _Stage | None:
        return next((stage for stage in self.stages if stage.state == "open"), None)

    def given_in(self, stage: _Stage) -> list[_Given]:
        return [given for given in self.given if given.stage_id == stage.id]


def decide(
    connection: Connection,
    *,
    round_id: int,
    person_id: str,
    account: str,
    answer: str,
    comment: str | None = None,
    route: str,
    digest: str | None = None,
    asked_in: int | None = None,
    now: datetime | None = None,
) -> Decision:
    """Record what somebody says to a round, in an authored transaction, and carry it out.

    The round is locked first, so of two answers at the same instant one comes after the other, and is refused where
    there is nothing left to decide.

    :param account: by which they came, as the route names it; `person_id` is whose account that is.
    :param answer: approve, reject or ask, by who is asked or stands in; answer or withdraw, by the requester.
    :param digest: of what they saw, where the route can tell.
    :param asked_in: number of the stage that they were asked in, where the route can tell; a late answer to one stage
        is none to the next.
    :raises Refused: unknown_person, shared_account, unknown_round, own_request, not_asked, already_decided, asked,
        void, closed, expired, digest_differs or comment_needed.
    """
    if answer not in OF_APPROVERS + OF_REQUESTER:
        raise ValueError(f"{answer!r} is no answer; there are {', '.join(OF_APPROVERS + OF_REQUESTER)}")
    known = people()
    _check_account(known, person_id, account, route)
    if rounds.lock(connection, round_id) is None:
        raise Refused("unknown_round", "this approval does not exist")
    now = now or rounds.clock_of(connection)
    asked = _read(connection, round_id)
    comment = (comment or "").strip() or None
    stage: _Stage | None = None
    seat: str | None = None
    delegation: int | None = None
    if answer in OF_APPROVERS:
        if person_id == asked.requester:
            raise Refused("own_request", "this is your own request: somebody else decides on it")
        stage, seat, delegation = _place(connection, asked, person_id, known, now)
        if asked_in is not None and asked_in != stage.number:
            before = [each for each in asked.stages if each.number == asked_in]
            given = [each for found in before for each in asked.given_in(found)]
            raise _already(given[-1], known) if given else Refused("closed", f"stage {asked_in} is not asked now")
    elif person_id != asked.requester:
        raise Refused("not_asked", f"only {known.name(asked.requester)}, who made the request, can {answer} here")
    else:
        _check_open(asked, known)
        if answer == "answer" and asked.state != "asked":
            raise Refused("not_asked", "nobody waits for an answer of yours")
    if digest is not None and digest != asked.digest:
        raise Refused("digest_differs", "the request is not what you saw any more; look at it again and decide then")
    if answer in NEED_A_COMMENT and comment is None:
        raise Refused("comment_needed", NEED_A_COMMENT[answer])
    decision_id = connection.execute(
        text("""
            insert into approval_decisions (round_id, stage_id, person, seat, delegation_id, answer, route, account,
                                            comment, digest, at)
            values (:round_id, :stage_id, :person, :seat, :delegation, :answer, :route, :account, :comment, :digest,
                    :now) returning id"""),
        {
            "round_id": round_id,
            "stage_id": stage.id if stage else None,
            "person": person_id,
            "seat": seat,
            "delegation": delegation,
            "answer": answer,
            "route": route,
            "account": account,
            "comment": comment,
            "digest": asked.digest,
            "now": now,
        },
    ).scalar_one()
    state, stage_closed = _carry_out(connection, asked, stage, answer, person=person_id, now=now)
    rounds.hand_to_first(connection, round_id)
    store.record(
        connection,
        "approval.decided",
        [asked.case_id],
        {
            "round": round_id,
            "number": asked.number,
            "answer": answer,
            "person": person_id,
            **({"stage": stage.number, "seat": seat} if stage else {}),
            "route": route,
            "round_state": state,
        },
    )
    return Decision(
        decision_id,
        round_id,
        asked.case_id,
        answer,
        person_id,
        stage.number if stage else None,
        seat,
        state,
        stage_closed,
        state not in ("open", "asked"),
    )


def _check_account(known: People, person_id: str, account: str, route: str) -> None:
    """Refuse whoever is nobody, is several, or comes by somebody else's account."""
    name = account.removeprefix(f"{route}:")
    owner = known.by_slack(name) if route == "slack" else known.by_airflow(None, name)
    person = known.by_id.get(person_id)
    for each in (person, owner):
        if each is not None and each.shared:
            raise Refused("shared_account", f"several people use {each.name}: decide with your own account")
    if person is None or not person.active:
        raise Refused("unknown_person", "your account is nobody's who decides here; people.yaml names the accounts")
    if owner is not None and owner.id != person_id:
        raise Refused("unknown_person", f"this account is not {person.name}'s")


def _read(connection: Connection, round_id: int) -> _Asked:
    row = connection.execute(
        text("""
            select r.id, r.case_id, r.number, r.state, r.requester, r.digest, r.closed_at, c.state as case_state
            from approval_rounds r join cases c on c.id = r.case_id where r.id = :id"""),
        {"id": round_id},
    ).one()
    stages = connection.execute(
        text("""
            select s.id, s.number, s.state, s.needed, s.within, s.expires_at,
                   (select array_agg(person order by place) from approval_seats where stage_id = s.id) as seats
            from approval_stages s where s.round_id = :id order by s.number"""),
        {"id": round_id},
    )
    given = connection.execute(
        text("""
            select stage_id, seat, person, answer, route, at from approval_decisions
            where round_id = :id and answer in ('approve', 'reject') order by id"""),
        {"id": round_id},
    )
    return _Asked(
        row.id,
        row.case_id,
        row.number,
        row.state,
        row.requester,
        row.digest,
        row.closed_at,
        row.case_state,
        [_Stage(*stage) for stage in stages],
        [_Given(*entry) for entry in given],
    )


def _place(
    connection: Connection, asked: _Asked, person: str, known: People, now: datetime
) -> tuple[_Stage, str, int | None]:
    """The open stage, the seat in it that a person may decide for, and by which delegation."""
    instead = {**stood_in_for(connection, person, now), person: None}
    instead.pop(asked.requester, None)
    theirs = [stage for stage in asked.stages if set(stage.seats) & instead.keys()]
    if not theirs:
        raise Refused("not_asked", "you are not asked about this request, and stand in for nobody who is")
    if asked.state in ("approved", "rejected"):
        raise _already(_last(asked, theirs, person, instead) or asked.given[-1], known)
    _check_open(asked, known)
    if asked.state == "asked":
        raise Refused("asked", f"a question waits for the answer of {known.name(asked.requester)}; decide after it")
    stage = asked.open_stage
    if stage is None:
        raise Refused("closed", "no stage of this approval is open")
    given = asked.given_in(stage)
    own = next((each for each in given if each.person == person), None)
    if own is not None:
        raise _already(own, known)
    decided = {each.seat for each in given}
    seats = sorted((seat for seat in stage.seats if seat in instead), key=lambda seat: seat != person)
    free = [seat for seat in seats if seat not in decided]
    if not free:
        before = _last(asked, [each for each in theirs if each.state != "planned"], person, instead)
        if before is not None:
            raise _already(before, known)
        raise Refused("not_asked", f"you are asked in stage {theirs[0].number}, and stage {stage.number} is not over")
    if stage.expires_at is not None and stage.expires_at <= now:
        raise Refused("expired", f"the time to decide ran out, {_when(stage.expires_at)}")
    return stage, free[0], instead[free[0]]


def _last(asked: _Asked, stages: Sequence[_Stage], person: str, instead: dict[str, Any]) -> _Given | None:
    """The decision that leaves a person nothing to decide: their own, of a seat of theirs, or the last of the stage."""
    given = [each for stage in stages for each in asked.given_in(stage)]
    own = [each for each in given if each.person == person]
    of_a_seat = [each for each in given if each.seat in instead]
    return next((found[-1] for found in (own, of_a_seat, given) if found), None)


def _already(given: _Given, known: People) -> Refused:
    who = known.name(given.person) + (f" for {known.name(given.seat)}" if given.seat != given.person else "")
    return Refused(
        "already_decided", f"already decided by {who}: {_DONE[given.answer]}, {_BY[given.route]}, {_when(given.at)}"
    )


def _check_open(asked: _Asked, known: People) -> None:
    """Refuse an answer to a round, or about a case, that is over."""
    when = f", {_when(asked.closed_at)}" if asked.closed_at else ""
    if asked.state == "void":
        raise Refused("void", f"the request was changed{when}: this approval is void, and asked for again")
    if asked.state == "expired":
        raise Refused("expired", f"the time to decide ran out{when}")
    if asked.state == "withdrawn":
        raise Refused("closed", f"{known.name(asked.requester)} withdrew the request{when}")
    if asked.state in ("approved", "rejected"):
        raise _already(asked.given[-1], known)
    if asked.case_state in ("finished", "rejected"):
        raise Refused("closed", "the request is closed")


def _when(moment: datetime) -> str:
    return f"{moment:%-d %b %H:%M} UTC"


def _carry_out(
    connection: Connection, asked: _Asked, stage: _Stage | None, answer: str, *, person: str, now: datetime
) -> tuple[str, bool]:
    """Move stage and round by an answer; return the round's state, and whether the stage is closed by it."""
    known = people()
    if answer in _ENDS:
        rounds.close(connection, {asked.id: _ENDS[answer]}, now)
        return _ENDS[answer], True
    if stage is None:
        _answered(connection, asked, known, now)
        return "open", False
    if answer == "ask":
        _ask(connection, asked, stage, known, now)
        return "asked", False
    approvals = {given.person for given in asked.given_in(stage) if given.answer == "approve"} | {person}
    if len(approvals) < stage.needed:
        return "open", False
    connection.execute(
        text("""
            update approval_stages set state = 'approved', remind_at = null, escalate_at = null, expires_at = null
            where id = :id"""),
        {"id": stage.id},
    )
    following = next((each for each in asked.stages if each.state == "planned"), None)
    if following is None:
        rounds.close(connection, {asked.id: "approved"}, now)
        return "approved", True
    _start(connection, following, following.seats, known, now)
    return "open", True


def _start(connection: Connection, stage: _Stage, persons: Sequence[str], known: People, now: datetime) -> None:
    """Open a stage, or let its clock begin anew."""
    times = rounds.first_times(now, stage.within, persons, known)
    connection.execute(
        text("""
            update approval_stages set state = 'open', opened_at = coalesce(opened_at, :now), asked_at = null,
                   remind_at = :remind_at, escalate_at = :escalate_at, due_at = :escalate_at, expires_at = null
            where id = :id"""),
        {"id": stage.id, "now": now, **times},
    )


def _ask(connection: Connection, asked: _Asked, stage: _Stage, known: People, now: datetime) -> None:
    """Let the round wait for the requester, who is reminded, and whose time runs out as well."""
    connection.execute(
        text("update approval_rounds set state = 'asked' where id = :id"),
        {"id": asked.id},
    )
    requester = [asked.requester]
    connection.execute(
        text("""
            update approval_stages set remind_at = :remind_at, escalate_at = null, due_at = :due_at,
                                       expires_at = :expires_at where id = :id"""),
        {
            "id": stage.id,
            "remind_at": after(now, stage.within / 2, requester, known),
            "due_at": after(now, stage.within, requester, known),
            "expires_at": after(now, stage.within * EXPIRES_AFTER, requester, known),
        },
    )


def _answered(connection: Connection, asked: _Asked, known: People, now: datetime) -> None:
    """Ask the same stage again, by another run: what Airflow showed of the former one is answered."""
    connection.execute(
        text("""
            update approval_rounds set state = 'open', part = part + 1,
                   run_id = workflow || '_' || case_id || '_' || number || '_' || (part + 1)
            where id = :id"""),
        {"id": asked.id},
    )
    stage = asked.open_stage
    if stage is not None:
        decided = {seat for given in asked.given_in(stage) for seat in (given.seat, given.person)}
        left = [seat for seat in stage.seats if seat not in decided]
        _start(connection, stage, left or stage.seats, known, now)
