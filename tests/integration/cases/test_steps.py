"""A step moves a batch, and one bad case harms no other."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.cases.steps import MOST_CULPRITS, Position, StepBroken, Tally, run_step
from tests.support.work import assert_balanced, receive, rows, states

STEPS = ["capture", "normalise", "validate", "log"]


def position(engine: Engine, step: str = "normalise") -> Position:
    claimed = store.claim(engine, workflow="lead_to_client", steps=STEPS, run_id="run", limit=1000)
    assert claimed
    return Position("lead_to_client", STEPS, step, claimed.id, "run")


def nothing(work: Work) -> None:
    return None


def test_cases_go_on_to_the_next_step(engine: Engine) -> None:
    ids = receive(engine, 3)
    assert run_step(engine, position(engine), nothing) == Tally(taken=3, advanced=3)
    assert {states(engine)[case] for case in ids} == {("running", "validate")}


def test_after_the_last_step_a_case_is_finished(engine: Engine) -> None:
    receive(engine, 2)
    where = position(engine)
    for step in STEPS[1:]:
        run_step(engine, Position("lead_to_client", STEPS, step, where.claim_id, "run"), nothing)
    assert rows(engine, "select distinct state, outcome, claim_id from cases") == [
        {"state": "finished", "outcome": "done", "claim_id": None}
    ]
    assert_balanced(engine)


def test_running_a_step_again_changes_nothing(engine: Engine) -> None:
    receive(engine, 2)
    where = position(engine)
    run_step(engine, where, nothing)
    before = rows(engine, "select * from events order by id")
    assert run_step(engine, where, nothing) == Tally()
    assert rows(engine, "select * from events order by id") == before


def test_each_case_goes_where_the_step_says(engine: Engine) -> None:
    a, b, c, d, e = receive(engine, 5)
    later = datetime.now(UTC) + timedelta(hours=1)

    def decide(work: Work) -> StepResult:
        return StepResult(
            quarantine={a: [Reason("email.invalid", "x@ is no address", "email")]},
            close={b: "merged"},
            put_back={c: later},
            wait={d: "user:anna"},
        )

    tally = run_step(engine, position(engine), decide)
    assert tally == Tally(taken=5, advanced=1, quarantined=1, finished=1, put_back=1, waiting=1)
    stood = states(engine)
    assert [stood[case][0] for case in (a, b, c, d, e)] == ["quarantined", "finished", "pending", "waiting", "running"]
    (waiting,) = rows(engine, "select owner from cases where id = :id", id=d)
    assert waiting["owner"] == "user:anna"
    (away,) = rows(engine, "select available_at, stage from cases where id = :id", id=c)
    assert away == {"available_at": later, "stage": "normalise"}
    assert_balanced(engine)


@pytest.mark.parametrize("culprits", [{3}, {0, 1}, {0, 19}, set(range(20))])
def test_only_the_cases_that_make_a_step_fail_are_set_aside(engine: Engine, culprits: set[int]) -> None:
    ids = receive(engine, 20)
    bad = {ids[place] for place in culprits}

    def fails_for_some(work: Work) -> None:
        work.connection.execute(text("create table if not exists touched (id bigint)"))
        work.connection.execute(text("insert into touched select unnest(cast(:ids as bigint[]))"), work.values)
        if bad & set(work.case_ids):
            raise ValueError("this one is poison")

    tally = run_step(engine, position(engine), fails_for_some)
    assert (tally.quarantined, tally.advanced) == (len(bad), 20 - len(bad))
    aside = rows(engine, "select id, reasons from cases where state = 'quarantined' order by id")
    assert {case["id"] for case in aside} == bad
    assert aside[0]["reasons"] == [{"code": "error.normalise", "message": "ValueError: this one is poison"}]
    if len(bad) < 20:
        touched = rows(engine, "select id from touched order by id")
        assert [row["id"] for row in touched] == sorted(set(ids) - bad), "what a culprit's batch wrote is undone"


def test_a_row_that_the_database_refuses_is_a_culprit_too(engine: Engine) -> None:
    ids = receive(engine, 8)

    def divides(work: Work) -> None:
        work.connection.execute(text("select 1 / (id - :bad) from unnest(cast(:ids as bigint[])) as id"), {
            "bad": ids[5], **work.values
        })  # fmt: skip

    assert run_step(engine, position(engine), divides).quarantined == 1
    assert states(engine)[ids[5]][0] == "quarantined"


def test_a_step_that_fails_for_all_is_broken_and_sets_nothing_aside(engine: Engine) -> None:
    receive(engine, MOST_CULPRITS + 5)

    def broken(work: Work) -> None:
        raise TypeError("a fault in the code")

    with pytest.raises(StepBroken, match="mend the step"):
        run_step(engine, position(engine), broken)
    assert {state for state, _ in states(engine).values()} == {"running"}


def test_transient_trouble_is_left_to_the_retry(engine: Engine) -> None:
    receive(engine, 3)

    def unlucky(work: Work) -> None:
        raise OperationalError("select", {}, Exception("the server closed the connection"))

    with pytest.raises(OperationalError):
        run_step(engine, position(engine), unlucky)
    assert {state for state, _ in states(engine).values()} == {"running"}


def test_two_executions_of_one_step_do_its_work_once(engine: Engine) -> None:
    receive(engine, 10)
    where = position(engine)
    inside, go_on = threading.Event(), threading.Event()

    def slow(work: Work) -> None:
        inside.set()
        go_on.wait(10)

    tallies: list[Tally] = []
    first = threading.Thread(target=lambda: tallies.append(run_step(engine, where, slow)))
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=lambda: tallies.append(run_step(engine, where, nothing)))
    second.start()
    go_on.set()
    first.join(10)
    second.join(10)
    assert sorted(tally.taken for tally in tallies) == [0, 10]
