"""Service levels as facts: the same whenever, however often and by how many somebody looks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from include.cases import store
from include.cases.model import StepResult
from include.cases.steps import Position, run_step
from include.contracts.registry import contract
from include.data.database import authored
from include.monitoring.service_levels import facts
from include.monitoring.service_levels.facts import keep_up, lateness, met_over_time
from tests.support.histories import Told, cases_with, tell
from tests.support.work import change, receive, rows

STEPS = contract("lead_to_client").step_ids
MINUTE = timedelta(minutes=1)
THEN = datetime(2026, 10, 24, 22, tzinfo=UTC)
"""The night in which summer time ends."""
FACTS = "select * from service_levels order by case_id, step nulls first, visit"


def now() -> datetime:
    return datetime.now(UTC)


def lead(start: datetime, *, takes: timedelta = MINUTE, ends: bool = True) -> list[Told]:
    """A lead that passes all steps in `takes`; without an end it stands at the last one."""
    each = takes / len(STEPS)
    story: list[Told] = [(start, "received", "capture", "pending"), (start + each, "claimed", STEPS[1], "running")]
    story += [(start + (n + 2) * each, "advanced", step, "running") for n, step in enumerate(STEPS[2:])]
    return story + ([(start + takes, "finished", STEPS[-1], "finished")] if ends else [])


def whole(engine: Engine, case_id: int) -> dict[str, Any]:
    (fact,) = rows(engine, "select * from service_levels where case_id = :id and step is null", id=case_id)
    return fact


@contextmanager
def statements(engine: Engine) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        seen.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    yield seen
    event.remove(engine, "before_cursor_execute", note)


def test_a_look_that_comes_days_late_says_what_was_so(engine: Engine) -> None:
    in_time, late = cases_with(engine, lead(THEN), lead(THEN, takes=timedelta(minutes=20)))
    keep_up(engine)
    first, second = whole(engine, in_time), whole(engine, late)
    assert first["met_at"] == THEN + MINUTE
    assert (first["missed_at"], first["warned_at"]) == (None, None)
    assert second["met_at"] is None
    assert second["warned_at"] == THEN + timedelta(minutes=12)
    assert second["missed_at"] == THEN + timedelta(minutes=15)
    assert second["ended_at"] == THEN + timedelta(minutes=20)
    assert second["escalated_at"] is None


def test_a_case_that_nobody_ends_becomes_late_by_itself(engine: Engine) -> None:
    start = now() - timedelta(minutes=13)
    (case_id,) = cases_with(engine, lead(start, takes=timedelta(seconds=1), ends=False))
    keep_up(engine)
    keep_up(engine)  # from here on it is not measured again
    assert whole(engine, case_id)["warned_at"] == start + timedelta(minutes=12)
    assert whole(engine, case_id)["missed_at"] is None
    change(
        engine,
        "update service_levels set warn_at = warn_at - interval '20 minutes', due_at = due_at - interval '20 minutes',"
        " escalate_at = escalate_at - interval '20 minutes' where step is null",
    )
    assert keep_up(engine).passed >= 1
    assert whole(engine, case_id)["missed_at"] == start - timedelta(minutes=5)
    assert whole(engine, case_id)["escalated_at"] == start + timedelta(minutes=10)


def test_the_case_itself_gets_its_due_time_while_nobody_works_on_it(engine: Engine) -> None:
    free, held = receive(engine, 2)
    before = rows(engine, "select count(*) as n from events")
    with authored(engine, actor="system:test") as connection:
        store.lock(connection, [held])
        keep_up(engine)
        due = {row["id"]: row["due_at"] for row in rows(engine, "select id, due_at from cases")}
        assert due == {free: whole(engine, free)["due_at"], held: None}
    keep_up(engine)
    assert (
        rows(engine, "select due_at from cases where id = :id", id=held)[0]["due_at"] == whole(engine, held)["due_at"]
    )
    assert rows(engine, "select count(*) as n from events") == before


def test_looking_twice_changes_nothing(engine: Engine) -> None:
    cases_with(engine, lead(THEN), lead(THEN, takes=timedelta(hours=1)), lead(THEN, ends=False))
    keep_up(engine)
    facts, weeks = rows(engine, FACTS), rows(engine, "select * from service_level_weeks order by workflow, step, week")
    change(engine, "update service_level_looks set seen_event = 0")
    assert keep_up(engine).measured == 0
    assert rows(engine, FACTS) == facts
    assert rows(engine, "select * from service_level_weeks order by workflow, step, week") == weeks


def test_two_looks_at_once_make_each_fact_once(engine: Engine) -> None:
    cases_with(engine, *(lead(THEN + n * MINUTE) for n in range(200)))
    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(lambda _: keep_up(engine), range(4)))
    assert sum(each.measured for each in kept) == 200 * (len(STEPS) + 1)
    assert sum(week["met"] for week in rows(engine, "select met from service_level_weeks")) == 200 * (len(STEPS) + 1)


def test_only_cases_with_news_are_measured_again(engine: Engine) -> None:
    cases_with(engine, *(lead(THEN) for _ in range(50)))
    keep_up(engine)
    keep_up(engine)  # from here on no transaction can add events below
    (case_id,) = cases_with(engine, lead(THEN))
    with statements(engine) as seen:
        assert keep_up(engine).measured == len(STEPS) + 1
    with statements(engine) as again:
        assert keep_up(engine).measured == 0
    assert not [statement for statement in again if "window story" in statement], "it has ended, and is not read again"
    assert whole(engine, case_id)["met_at"]
    assert len(seen) < 15


def test_events_of_a_transaction_that_ends_late_are_not_passed_over(engine: Engine) -> None:
    """Its events have lower numbers than some that were seen long before."""
    slow, quick = receive(engine, 2)
    keep_up(engine)
    with authored(engine, actor="system:test") as connection:
        connection.execute(text("update cases set stage = 'normalise' where id = :id"), {"id": slow})
        change(engine, "update cases set stage = 'normalise' where id = :id", id=quick)
        for _ in range(3):
            keep_up(engine)
        of = "select count(*) as n from service_levels where step = 'normalise' and case_id = :id"
        assert rows(engine, of, id=slow) == [{"n": 0}]
        assert rows(engine, of, id=quick) == [{"n": 1}]
    keep_up(engine)
    assert rows(engine, of, id=slow) == [{"n": 1}]
    keep_up(engine)
    keep_up(engine)
    assert rows(engine, "select seen_event = (select max(id) from events) as all from service_level_looks") == [
        {"all": True}
    ]


def test_a_look_that_has_no_time_left_goes_on_at_the_next(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    cases_with(engine, *(lead(THEN) for _ in range(30)))
    monkeypatch.setattr(facts, "MOST_EVENTS", 50)
    monkeypatch.setattr(facts, "LONGEST_LOOK", 0.0)
    for _ in range(20):
        keep_up(engine)
    assert rows(engine, "select count(*) as n from service_levels") == [{"n": 30 * (len(STEPS) + 1)}]


def test_what_has_ended_stays_as_it_was_when_the_contract_changes(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    over, under_way = cases_with(engine, lead(THEN), lead(THEN, ends=False))
    keep_up(engine)
    of = "select * from service_levels where case_id = any(:ids) and ended_at is not null order by case_id, step"
    facts = rows(engine, of, ids=[over, under_way])
    lead_contract = contract("lead_to_client")
    shorter = {"within": timedelta(seconds=1)}
    steps = [
        step.model_copy(update={"service_level": step.service_level.model_copy(update=shorter)})
        for step in lead_contract.steps
    ]
    whole_case = lead_contract.service_level.model_copy(update=shorter)
    changed = {"lead_to_client": lead_contract.model_copy(update={"service_level": whole_case, "steps": steps})}
    monkeypatch.setattr("include.monitoring.service_levels.facts.contracts", lambda: changed)
    (later,) = cases_with(engine, lead(THEN))
    tell(engine, [(under_way, THEN + MINUTE, "finished", "log", "finished")])
    keep_up(engine)
    assert rows(engine, of, ids=[over, under_way])[: len(STEPS) + 1] == facts[: len(STEPS) + 1]
    assert [row for row in rows(engine, of, ids=[under_way]) if row["step"] not in ("log", None)] == [
        row for row in facts if row["case_id"] == under_way
    ]
    assert whole(engine, under_way)["missed_at"] == THEN + timedelta(seconds=1)
    assert whole(engine, later)["missed_at"] == THEN + timedelta(seconds=1)


def test_the_clock_stands_while_the_requester_is_asked(engine: Engine) -> None:
    """Friday 10:00 in Berlin, 40 business hours; asked from 11:00 until Monday 10:00."""
    start = datetime(2026, 10, 23, 8, tzinfo=UTC)
    (case_id,) = cases_with(
        engine,
        [(start, "received", "capture", "pending"), (start, "waiting", "approve", "waiting")],
        workflow="purchase_approval",
    )
    decided = "insert into events (case_id, at, workflow, kind, stage, state, actor, detail) values (:id, :at," \
        " 'purchase_approval', 'approval.decided', 'approve', 'waiting', 'user:bea', :detail)"  # fmt: skip
    fact = "select due_at, stopped, stopped_since from service_levels where step = 'approve'"
    change(engine, decided, id=case_id, at=start + timedelta(hours=1), detail='{"round_state": "asked"}')
    tell(engine, [(case_id, start + timedelta(hours=2), "changed", "approve", "waiting")], workflow="purchase_approval")
    keep_up(engine)
    assert rows(engine, fact) == [
        {"due_at": None, "stopped": timedelta(0), "stopped_since": start + timedelta(hours=1)}
    ]
    assert whole(engine, case_id)["due_at"] is None
    answered = datetime(2026, 10, 26, 9, tzinfo=UTC)
    change(engine, decided, id=case_id, at=answered, detail='{"round_state": "open"}')
    keep_up(engine)
    (approve,) = rows(engine, fact)
    assert approve["stopped"] == answered - start - timedelta(hours=1)
    assert approve["stopped_since"] is None
    # one of 40 hours had passed; the winter's ten o'clock, then seven on Monday and eight a day
    assert approve["due_at"] == datetime(2026, 10, 30, 16, tzinfo=UTC)


def test_cases_that_the_steps_move_are_measured(engine: Engine) -> None:
    receive(engine, 3)
    claim = store.claim(engine, workflow="lead_to_client", steps=STEPS, run_id="run-1")
    assert claim is not None
    for step in STEPS[1:]:
        run_step(engine, Position("lead_to_client", STEPS, step, claim.id, "run-1"), lambda _: StepResult())
    keep_up(engine)
    found = rows(engine, "select step, count(*) as n, count(met_at) as met from service_levels group by step")
    assert {row["step"] for row in found} == {None, *STEPS}
    assert all(row["n"] == row["met"] == 3 for row in found)


def test_a_case_that_waits_for_a_workflow_that_is_not_built_has_a_service_level_too(engine: Engine) -> None:
    (case_id,) = cases_with(engine, [(THEN, "handed over", "received", "waiting")], workflow="client_billing_setup")
    keep_up(engine)
    assert whole(engine, case_id)["missed_at"] == datetime(2026, 10, 27, 16, tzinfo=UTC)


def test_what_was_met_is_told_by_week(engine: Engine) -> None:
    sunday, monday = datetime(2026, 10, 25, 12, tzinfo=UTC), datetime(2026, 10, 26, 12, tzinfo=UTC)
    cases_with(engine, lead(sunday), lead(sunday, takes=timedelta(minutes=30)), lead(monday), lead(monday))
    cases_with(engine, lead(monday, ends=False))
    keep_up(engine)
    with engine.connect() as connection:
        weeks = met_over_time(connection, date(2026, 10, 21))
        whole_cases = [week for week in weeks if week.step is None]
        assert [(week.workflow, week.week, week.met, week.missed) for week in whole_cases] == [
            ("lead_to_client", date(2026, 10, 19), 1, 1),
            ("lead_to_client", date(2026, 10, 26), 2, 1),
        ]
        assert whole_cases[0].share == 0.5
        assert {week.step for week in weeks} == {None, *STEPS}
        assert {week.week for week in met_over_time(connection, date(2026, 10, 26))} == {date(2026, 10, 26)}


def test_a_level_that_was_missed_first_and_met_by_what_came_to_light_is_counted_once(engine: Engine) -> None:
    """Its transaction had not ended when somebody looked."""
    (case_id,) = cases_with(engine, lead(THEN, ends=False))
    keep_up(engine)
    counted = "select met, missed from service_level_weeks where step is null"
    assert rows(engine, counted) == [{"met": 0, "missed": 1}]
    tell(engine, [(case_id, THEN + 2 * MINUTE, "finished", "log", "finished")])
    keep_up(engine)
    assert whole(engine, case_id)["met_at"] == THEN + 2 * MINUTE
    assert rows(engine, counted) == [{"met": 1, "missed": 0}]


def test_the_board_counts_each_late_case_once(engine: Engine) -> None:
    ago = now()
    cases_with(
        engine,
        lead(ago - timedelta(minutes=30), ends=False),
        lead(ago - timedelta(minutes=30), takes=timedelta(minutes=29.5), ends=False),
        lead(ago - timedelta(minutes=13), takes=timedelta(minutes=13.5), ends=False),
        lead(ago, ends=False),
        lead(THEN),
    )
    keep_up(engine)
    with engine.connect() as connection:
        found = lateness(connection)
    assert (found["lead_to_client"].late, found["lead_to_client"].soon) == (2, 1)


def test_10000_cases_are_one_look_and_a_few_statements(engine: Engine) -> None:
    starts = [THEN + timedelta(seconds=n) for n in range(10_000)]
    cases_with(
        engine,
        *(
            [
                (at, "received", "capture", "pending"),
                (at + MINUTE, "claimed", "normalise", "running"),
                (at + 2 * MINUTE, "finished", "normalise", "finished"),
            ]
            for at in starts
        ),
    )
    with statements(engine) as seen:
        assert keep_up(engine).measured == 10_000 * 3
    assert len(seen) <= 20
    assert rows(engine, "select count(*) as n from cases where due_at is null") == [{"n": 0}]
    keep_up(engine)
    with statements(engine) as seen:
        keep_up(engine)
    assert len(seen) <= 10


@pytest.mark.parametrize("wrong", ["met_at = now(), missed_at = now()", "ended_at = now(), met_at = null"])
def test_the_database_refuses_a_fact_that_makes_no_sense(engine: Engine, wrong: str) -> None:
    cases_with(engine, lead(now(), ends=False))
    keep_up(engine)
    with pytest.raises(Exception, match=r"met_or_missed|ended_means"):
        change(engine, f"update service_levels set {wrong}")
