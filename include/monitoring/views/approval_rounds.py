"""What people see of approvals: lists of what waits, and one round with who was asked, why, and what they said.

It only reads. What may be shown to whom is said here; answering is `include.approvals.answers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection, text

from include.approvals import asking, rounds
from include.approvals.asking import Standing
from include.approvals.delegations import Delegation, current, deputies_now, may_enter_for
from include.approvals.rounds import Round, Waiting

PAGE_LENGTH = 50
List = Literal["mine", "all", "late"]
Key = tuple[datetime, int]
"""Of the last entry of a page: since when it waits, and its round."""


@dataclass(frozen=True)
class Seat:
    """One person who is asked in a stage.

    :param next_in_line: they are asked because nobody decided in time.
    :param deputies: who decides in their place now.
    """

    person: str
    next_in_line: bool
    deputies: Sequence[str]


@dataclass(frozen=True)
class Shown:
    """One round, for whoever looks at it.

    :param seats: id of a stage -> who is asked there.
    :param rounds: number and id of every round of its case, latest first.
    :param answers: what the person who looks can answer now.
    :param concerned: whether they are asked, stand in, made the request, or have decided.
    """

    asked: Standing
    standing: Round
    seats: Mapping[int, Sequence[Seat]]
    rounds: Sequence[tuple[int, int]]
    answers: Sequence[str]
    concerned: bool


def waiting(
    connection: Connection, which: List, person: str | None, after: Key | None
) -> tuple[list[Waiting], Key | None]:
    """Return a page of a list, longest waiting first, and the key after which the next one begins.

    :param person: who looks; nobody has no list of their own.
    """
    if which == "mine" and person is None:
        return [], None
    found = rounds.waiting(
        connection,
        person=person if which == "mine" else None,
        late=which == "late",
        after=after,
        limit=PAGE_LENGTH + 1,
    )
    shown = found[:PAGE_LENGTH]
    return shown, (shown[-1].since, shown[-1].round_id) if len(found) > PAGE_LENGTH else None


def shown(connection: Connection, round_id: int, person: str | None) -> Shown | None:
    """Return a round as `person` sees it; None when there is no such round."""
    asked, standing = asking.standing(connection, round_id), rounds.get(connection, round_id)
    if asked is None or standing is None:
        return None
    seats = _seats(connection, asked)
    concerned = {asked.requester, *standing.may_decide, *(given.person for given in asked.given)}
    concerned |= {name for each in seats.values() for seat in each for name in (seat.person, *seat.deputies)}
    return Shown(
        asked,
        standing,
        seats,
        _rounds_of(connection, asked.case_id),
        _answers(standing, person),
        person is not None and person in concerned,
    )


def delegations(connection: Connection, account: str, person: str | None, *, all_: bool) -> list[Delegation]:
    """Return what holds now or later: everybody's, or what `person` is part of or could enter."""
    found = current(connection, rounds.clock_of(connection))
    if all_:
        return found
    theirs = {each.id for each in may_enter_for(account)}
    return [each for each in found if each.person in theirs or each.deputy == person]


def _answers(standing: Round, person: str | None) -> list[str]:
    if person is None or not standing.is_open:
        return []
    if person == standing.requester:
        return ["answer", "withdraw"] if standing.state == "asked" else ["withdraw"]
    return ["approve", "reject", "ask"] if standing.state == "open" and person in standing.may_decide else []


def _seats(connection: Connection, asked: Standing) -> dict[int, list[Seat]]:
    stage = asked.current
    standing_in = deputies_now(connection, stage.seats, rounds.clock_of(connection)) if stage else {}
    rows = connection.execute(
        text("""
            select s.id, seat.person, seat.via = 'escalation' as next_in_line
            from approval_stages s join approval_seats seat on seat.stage_id = s.id
            where s.round_id = :id order by s.number, seat.place"""),
        {"id": asked.id},
    )
    seats: dict[int, list[Seat]] = {}
    for row in rows:
        deputies = standing_in.get(row.person, []) if stage and row.id == stage.id else []
        names = [each.deputy for each in deputies if each.deputy != asked.requester]
        seats.setdefault(row.id, []).append(Seat(row.person, row.next_in_line, names))
    return seats


def _rounds_of(connection: Connection, case_id: int) -> list[tuple[int, int]]:
    found = connection.execute(
        text("select number, id from approval_rounds where case_id = :id order by number desc"), {"id": case_id}
    )
    return [(row.number, row.id) for row in found]
