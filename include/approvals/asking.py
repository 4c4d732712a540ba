"""How a round stands, and what whoever is asked is shown of it; also which rounds no run looks after.

Reads, and marks a stage as asked; deciding is in `decisions`, and who is asked in `rounds`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, text

from include.approvals.people import People

DID = {
    "approve": "approved",
    "reject": "rejected",
    "ask": "asked",
    "answer": "answered",
    "withdraw": "withdrew",
}
"""An answer as the verb of a sentence."""


@dataclass(frozen=True)
class Stage:
    """One stage of a round: who may decide it, and how far it is."""

    id: int
    number: int
    state: str
    needed: int
    why: str
    seats: Sequence[str]
    due: datetime | None
    asked: bool


@dataclass(frozen=True)
class Given:
    """One decision that was given in a round."""

    stage: int | None
    person: str
    seat: str | None
    answer: str
    route: str
    comment: str | None
    at: datetime


@dataclass(frozen=True)
class Standing:
    """A round with its stages and all that was said in it."""

    id: int
    case_id: int
    workflow: str
    number: int
    run_id: str
    state: str
    requester: str
    title: str
    shown: Sequence[tuple[str, str]]
    stages: Sequence[Stage]
    given: Sequence[Given]

    def stage(self, number: int) -> Stage | None:
        """The stage of that number; None where the round has fewer."""
        return next((stage for stage in self.stages if stage.number == number), None)

    @property
    def current(self) -> Stage | None:
        """The stage that is being asked; None when the round is not open."""
        return next((stage for stage in self.stages if stage.state == "open"), None)

    @property
    def question(self) -> Given | None:
        """What the requester was asked last, while that is not answered."""
        asked = [given for given in self.given if given.answer == "ask"]
        return asked[-1] if asked and self.state == "asked" else None


def standing(connection: Connection, round_id: int) -> Standing | None:
    """Return how a round stands; None when there is no such round."""
    row = connection.execute(
        text("""
            select id, case_id, workflow, number, run_id, state, requester, title, shown from approval_rounds
            where id = :id"""),
        {"id": round_id},
    ).one_or_none()
    if row is None:
        return None
    stages = connection.execute(
        text("""
            select s.id, s.number, s.state, s.needed, s.why,
                   (select coalesce(array_agg(seat.person order by seat.place), '{}')
                    from approval_seats seat where seat.stage_id = s.id) as seats, s.due_at, s.asked_at is not null
            from approval_stages s where s.round_id = :id order by s.number"""),
        {"id": round_id},
    )
    given = connection.execute(
        text("""
            select s.number, d.person, d.seat, d.answer, d.route, d.comment, d.at
            from approval_decisions d left join approval_stages s on s.id = d.stage_id
            where d.round_id = :id order by d.id"""),
        {"id": round_id},
    )
    shown = [(str(label), str(value)) for label, value in row.shown]
    return Standing(
        row.id,
        row.case_id,
        row.workflow,
        row.number,
        row.run_id,
        row.state,
        row.requester,
        row.title,
        shown,
        [Stage(*stage) for stage in stages],
        [Given(*entry) for entry in given],
    )


def round_of_run(connection: Connection, run_id: str) -> int | None:
    """Return the round that a run asks; None where the run asks none, or a later run has taken over."""
    found: int | None = connection.execute(
        text("select id from approval_rounds where run_id = :run_id"), {"run_id": run_id}
    ).scalar_one_or_none()
    return found


def mark_asked(connection: Connection, stage_id: int) -> None:
    """Keep that the run has reached this stage, and that people are asked there."""
    connection.execute(
        text("update approval_stages set asked_at = coalesce(asked_at, now()) where id = :id"), {"id": stage_id}
    )


@dataclass(frozen=True)
class Unattended:
    """A round that no run looks after as it should, and the run that ought to."""

    id: int
    workflow: str
    run_id: str
    closed: bool


def unattended(connection: Connection, *, older_than: timedelta, limit: int = 100) -> list[Unattended]:
    """Return rounds whose open stage nobody was asked at, or whose end nobody has drawn the conclusion of.

    :param older_than: how long a run has time to get there by itself.
    """
    rows = connection.execute(
        text("""
            (select r.id, r.workflow, r.run_id, false from approval_rounds r
             join approval_stages s on s.round_id = r.id
             where r.state = 'open' and s.state = 'open' and s.asked_at is null and s.opened_at < now() - :age
             order by r.id limit :limit)
            union all
            (select id, workflow, run_id, true from approval_rounds
             where concluded_at is null and closed_at < now() - :age order by id limit :limit)"""),
        {"age": older_than, "limit": limit},
    )
    return [Unattended(*row) for row in rows]


def subject(asked: Standing) -> str:
    """The headline on Airflow's page of required actions."""
    stage = asked.current
    place = f" (stage {stage.number} of {len(asked.stages)})" if stage and len(asked.stages) > 1 else ""
    return f"{asked.title}{place}"


def body(asked: Standing, people: People, *, stage: Stage | None = None) -> str:
    """What there is to decide about, in Markdown: the facts, why one is asked, who may answer, what was said."""
    lines = ["| | |", "|---|---|", *(f"| {_cell(label)} | {_cell(value)} |" for label, value in asked.shown), ""]
    if stage is not None:
        names = ", ".join(_cell(_name(people, person)) for person in stage.seats)
        lines.append(f"**Why:** {_cell(stage.why)}")
        lines.append("")
        lines.append(f"**May decide:** {names}, or who stands in for them. {_needed(stage)}")
        if stage.due:
            lines.append(f"Please answer by {stage.due:%Y-%m-%d %H:%M} UTC.")
        lines.append("")
    if asked.given:
        lines.append("**Said so far**")
        lines += [f"- {_said(given, people)}" for given in asked.given]
    return "\n".join(lines)


def _needed(stage: Stage) -> str:
    return f"{stage.needed} of {len(stage.seats)} must approve." if len(stage.seats) > 1 else ""


def _said(given: Given, people: People) -> str:
    who = _name(people, given.person)
    if given.seat and given.seat != given.person:
        who += f" (for {_name(people, given.seat)})"
    comment = f": {_cell(given.comment)}" if given.comment else ""
    return f"{_cell(who)} {DID[given.answer]}, {given.at:%Y-%m-%d %H:%M} UTC{comment}"


def _name(people: People, person: str) -> str:
    known: Any = people.by_id.get(person)
    return known.name if known else person


def _cell(value: str | None) -> str:
    """Text that cannot break out of a table's cell or become a link, an image or HTML."""
    plain = " ".join((value or "").split())
    return "".join(f"\\{sign}" if sign in "\\`*_{}[]()#+!|<>~" else sign for sign in plain)
