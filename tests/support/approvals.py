"""Asks for approvals and answers them, as a workflow and the people of the samples would."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from include.approvals import clock, rounds
from include.approvals.clock import Milestones
from include.approvals.decisions import Decision, Refused, decide
from include.approvals.people import people
from include.approvals.policy import Routing, StagePlan
from include.approvals.rounds import Ask, Round, digest_of
from include.data.database import authored
from tests.support.work import change, receive

MONDAY = datetime(2026, 11, 16, 8, 0, tzinfo=UTC)
"""Nine o'clock in Berlin, when business hours begin."""
HOUR = timedelta(hours=1)
_keys = itertools.count(1)


def today(person: str = "maria.keller") -> date:
    """The date at somebody's place, by which the days of who stands in for them are counted."""
    return people().by_id[person].today(datetime.now(UTC))


def plan(*stages: tuple[Sequence[str], int] | str, within: timedelta = 8 * HOUR) -> Routing:
    """A routing of these stages: seats and how many of them, or one person."""
    parts = [((stage,), 1) if isinstance(stage, str) else stage for stage in stages]
    return Routing(
        tuple("because" for _ in parts),
        tuple(
            StagePlan(number, "rule", "because", tuple(seats), needed, within)
            for number, (seats, needed) in enumerate(parts, 1)
        ),
        None,
        digest_of("policy"),
    )


def ask_for(case: int, routing: Routing, *, content: object = "content", requester: str = "anna.schmidt") -> Ask:
    return Ask(
        case, "purchase_approval", requester, f"Request {case}", [["Amount", "1,000 EUR"]], digest_of(content), routing
    )


def waiting_case(engine: Engine, owner: str = "anna.schmidt") -> int:
    """A case that waits at the step of approval."""
    (case,) = receive(engine, [{"n": next(_keys)}], workflow="purchase_approval", source="purchase-form")
    change(engine, "update cases set state = 'waiting', stage = 'approve', owner = :owner", owner=owner)
    return case


def opened(
    engine: Engine,
    *stages: tuple[Sequence[str], int] | str,
    requester: str = "anna.schmidt",
    now: datetime = MONDAY,
    content: object = "content",
    case: int | None = None,
) -> Round:
    """A round about a case that waits."""
    case = waiting_case(engine) if case is None else case
    with authored(engine, actor="system:test") as connection:
        asks = [ask_for(case, plan(*stages), content=content, requester=requester)]
        return rounds.open_rounds(connection, asks, now)[case]


def answer(
    engine: Engine,
    round_id: int,
    person: str,
    what: str = "approve",
    *,
    now: datetime | None = MONDAY,
    route: str = "page",
    comment: str | None = "because",
    account: str | None = None,
    digest: str | None = None,
    asked_in: int | None = None,
) -> Decision:
    with authored(engine, actor=f"user:{person}") as connection:
        return decide(
            connection,
            round_id=round_id,
            person_id=person,
            account=account or person,
            answer=what,
            comment=comment,
            route=route,
            now=now,
            digest=digest,
            asked_in=asked_in,
        )


def refusal(engine: Engine, round_id: int, person: str, what: str = "approve", **more: Any) -> Refused:
    """The refusal that an answer meets; it fails where the answer counts."""
    try:
        answer(engine, round_id, person, what, **more)
    except Refused as refused:
        return refused
    raise AssertionError(f"{person} could {what}")


def look(engine: Engine, round_id: int, now: datetime) -> Milestones:
    with authored(engine, actor="system:test") as connection:
        return clock.look(connection, round_id, now)


def stands(engine: Engine, round_id: int, now: datetime | None = MONDAY) -> Round:
    with engine.connect() as connection:
        found = rounds.get(connection, round_id, now)
    assert found is not None
    return found


def states_of(found: Iterable[Round]) -> list[str]:
    return [each.state for each in found]
