"""Any sequence of answers, delegations and waiting, against a model that is simple enough to be right."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from include.approvals.decisions import Refused
from tests.support.approvals import HOUR, MONDAY, answer, look, opened, stands
from tests.support.work import change, rows

REQUESTER = "anna.schmidt"
STAGES = [(["maria.keller"], 1), (["ines.vogt", "karl.brandt", "sara.neumann"], 2)]
PEOPLE = ["anna.schmidt", "maria.keller", "ines.vogt", "karl.brandt", "sara.neumann", "tom.berger"]

person = st.sampled_from(PEOPLE)
likely = st.sampled_from([*PEOPLE[1:], *PEOPLE[1:5]])
actions = st.one_of(
    st.tuples(st.just("approve"), likely),
    st.tuples(st.just("approve"), person),
    st.tuples(st.sampled_from(["reject", "ask"]), person),
    st.tuples(st.sampled_from(["answer", "answer", "withdraw"]), st.sampled_from(["anna.schmidt", "maria.keller"])),
    st.tuples(st.just("delegate"), person, person, st.integers(-1, 1)),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(st.just("look"), st.sampled_from([0, 1, 5, 24, 24, 120])),
)


@dataclass
class Model:
    """A round as a person would keep it on paper."""

    now: datetime = MONDAY
    state: str = "open"
    stage: int = 0
    seats: list[list[str]] = field(default_factory=lambda: [list(seats) for seats, _ in STAGES])
    approvals: list[dict[str, str]] = field(default_factory=lambda: [{} for _ in STAGES])  # seat -> person
    delegations: dict[int, tuple[str, str, datetime]] = field(default_factory=dict)

    def stands_in(self, deputy: str, seat: str) -> bool:
        return any(
            (who, for_whom, day.date()) == (seat, deputy, self.now.date())
            for who, for_whom, day in self.delegations.values()
        )

    def seat_for(self, person: str) -> str | None:
        """The seat that somebody may decide for now, their own before another's."""
        if self.state != "open" or person == REQUESTER:
            return None
        given = self.approvals[self.stage]
        if person in given.values():
            return None
        free = [seat for seat in self.seats[self.stage] if seat not in given]
        if person in free:
            return person
        return next((seat for seat in free if self.stands_in(person, seat)), None)

    def answered(self, what: str, person: str) -> None:
        if what == "approve":
            seat = self.seat_for(person)
            assert seat is not None, f"{person} has no seat"
            self.approvals[self.stage][seat] = person
            if len(self.approvals[self.stage]) >= STAGES[self.stage][1]:
                self.stage += 1
            if self.stage == len(STAGES):
                self.state = "approved"
        else:
            self.state = {"reject": "rejected", "ask": "asked", "answer": "open", "withdraw": "withdrawn"}[what]

    def allows(self, what: str, person: str) -> bool:
        if what in ("approve", "reject", "ask"):
            return self.seat_for(person) is not None
        waits = ("asked",) if what == "answer" else ("open", "asked")
        return person == REQUESTER and self.state in waits


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(actions, min_size=3, max_size=14))
def test_a_round_is_what_the_model_says(engine: Engine, steps: list[tuple[Any, ...]]) -> None:
    asked = opened(engine, *STAGES)
    model = Model()
    kept: list[dict[str, Any]] = []
    for step in steps:
        act(engine, asked.id, model, step)
        found = given_in(engine, asked.id)
        assert found[: len(kept)] == kept, "a decision changed"
        kept = found
        now = stands(engine, asked.id, model.now)
        assert now.state == model.state
        assert REQUESTER not in now.may_decide or now.state == "asked"
        assert set(now.may_decide) == may_decide(model)
    for delegation in model.delegations:  # the next example has the same people
        change(engine, "update delegations set ended_at = now(), ended_by = 'x' where id = :id", id=delegation)
    approved_only_by_enough(engine, asked.id)


def act(engine: Engine, round_id: int, model: Model, step: tuple[Any, ...]) -> None:
    match step:
        case ("delegate", who, deputy, days) if who != deputy:
            day = model.now + timedelta(days=days)
            (made,) = rows_of_insert(engine, who, deputy, day)
            model.delegations[made] = (who, deputy, day)
        case ("end", number) if model.delegations:
            ended = list(model.delegations)[number % len(model.delegations)]
            change(engine, "update delegations set ended_at = now(), ended_by = 'x' where id = :id", id=ended)
            del model.delegations[ended]
        case ("look", hours):
            model.now += hours * HOUR
            found = look(engine, round_id, model.now)
            assert REQUESTER not in found.escalated
            if found.escalated:
                assert model.state == "open"
                model.seats[model.stage] += found.escalated
            if found.expired and model.state in ("open", "asked"):
                model.state = "expired"
        case (("approve" | "reject" | "ask" | "answer" | "withdraw") as what, who):
            allowed = model.allows(what, who)
            try:
                answer(engine, round_id, who, what, now=model.now)
                refused = None
            except Refused as error:
                refused = error
            if refused is None:
                assert allowed, f"{who} could {what}"
                model.answered(what, who)
            else:
                assert not allowed or refused.code == "expired", refused.message


def may_decide(model: Model) -> set[str]:
    if model.state == "asked":
        return {REQUESTER}
    if model.state != "open":
        return set()
    return {who for who in PEOPLE if model.seat_for(who) is not None}


def rows_of_insert(engine: Engine, who: str, deputy: str, day: datetime) -> list[int]:
    change(
        engine,
        "insert into delegations (person, deputy, starts, ends, reason, actor)"
        " values (:who, :deputy, :day, :day, 'leave', 'user:x')",
        who=who,
        deputy=deputy,
        day=day.date(),
    )
    return [row["id"] for row in rows(engine, "select max(id) as id from delegations")]


def given_in(engine: Engine, round_id: int) -> list[dict[str, Any]]:
    return rows(engine, "select * from approval_decisions where round_id = :id order by id", id=round_id)


def approved_only_by_enough(engine: Engine, round_id: int) -> None:
    found = rows(
        engine,
        """
        select r.state, s.needed, count(distinct d.person) as persons, count(distinct d.seat) as seats,
               coalesce(bool_or(d.person = r.requester or d.seat = r.requester), false) as own,
               bool_and(d.digest = r.digest) as same
        from approval_rounds r join approval_stages s on s.round_id = r.id
        left join approval_decisions d on d.stage_id = s.id and d.answer = 'approve'
        where r.id = :id group by r.state, s.id, s.needed""",
        id=round_id,
    )
    assert not any(row["own"] for row in found)
    if found[0]["state"] == "approved":
        assert all(row["persons"] >= row["needed"] and row["seats"] >= row["needed"] for row in found)
        assert all(row["same"] for row in found)
