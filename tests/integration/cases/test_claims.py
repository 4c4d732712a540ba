"""A claim: who may work on a case, and what happens when whoever had it dies."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from include.cases import store
from tests.support.work import assert_balanced, change, receive, rows, states

STEPS = ["capture", "normalise", "validate", "log"]


def claim(engine: Engine, run_id: str = "run-1", limit: int = 100, **more: object) -> store.Claim | None:
    return store.claim(engine, workflow="lead_to_client", steps=STEPS, run_id=run_id, limit=limit, **more)  # type: ignore[arg-type]


def test_a_claim_takes_the_oldest_and_moves_them_behind_the_first_step(engine: Engine) -> None:
    ids = receive(engine, 5)
    claimed = claim(engine, limit=3)
    assert claimed is not None
    assert claimed.cases == 3
    assert [states(engine)[case] for case in ids] == [("running", "normalise")] * 3 + [("pending", "capture")] * 2


def test_nothing_pending_is_no_claim(engine: Engine) -> None:
    assert claim(engine) is None
    assert rows(engine, "select * from claims") == []


def test_two_runs_at_once_never_hold_the_same_case(engine: Engine) -> None:
    receive(engine, 60)
    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda n: claim(engine, run_id=f"run-{n}", limit=10), range(8)))
    held = [c.cases for c in claims if c]
    assert sum(held) == 60
    assert rows(engine, "select count(*) from events where kind = 'claimed'") == [{"count": 60}]


def test_a_run_that_asks_again_gets_the_claim_that_it_has(engine: Engine) -> None:
    receive(engine, 4)
    first = claim(engine, limit=2)
    again = claim(engine, limit=2)
    assert first == again
    assert rows(engine, "select count(*) from claims") == [{"count": 1}]


def test_the_cases_of_a_dead_run_are_claimable_where_they_stood(engine: Engine) -> None:
    (case,) = receive(engine)
    dead = claim(engine, run_id="dead")
    change(engine, "update cases set stage = 'validate'")
    assert claim(engine, run_id="too-early") is None
    change(engine, "update claims set lease_until = now() - interval '1 second'")
    alive = claim(engine, run_id="alive")
    assert alive is not None
    assert dead is not None
    assert alive.id != dead.id
    assert states(engine)[case] == ("running", "validate")
    assert rows(engine, "select attempts from cases") == [{"attempts": 1}]


def test_a_run_back_from_the_dead_finds_its_cases_gone(engine: Engine) -> None:
    receive(engine)
    dead = claim(engine, run_id="dead")
    change(engine, "update claims set lease_until = now() - interval '1 second'")
    claim(engine, run_id="alive")
    assert dead is not None
    with engine.begin() as connection:
        assert store.cases_at(connection, dead.id, "normalise") == []


def test_a_case_whose_runs_keep_dying_is_set_aside(engine: Engine) -> None:
    (case,) = receive(engine)
    for n in range(store.MOST_ATTEMPTS):
        assert claim(engine, run_id=f"run-{n}") is not None
        store.put_back_run(engine, "lead_to_client", run_id=f"run-{n}")
    assert claim(engine, run_id="one-more") is None
    assert states(engine)[case][0] == "quarantined"
    (found,) = rows(engine, "select reasons->0->>'code' as code from cases")
    assert found["code"] == "error.attempts"
    assert_balanced(engine)


def test_a_case_that_is_put_back_for_later_is_not_claimed_before(engine: Engine) -> None:
    receive(engine)
    change(engine, "update cases set available_at = now() + interval '1 hour'")
    assert claim(engine) is None
    with engine.connect() as connection:
        assert not store.pending(connection, "lead_to_client")


def test_a_claim_over_an_interval_takes_only_what_arrived_in_it(engine: Engine) -> None:
    receive(engine, 2)
    now = datetime.now(UTC)
    assert claim(engine, until=now - timedelta(hours=1)) is None
    assert claim(engine, since=now - timedelta(hours=1), until=now + timedelta(hours=1)) is not None


@pytest.mark.parametrize("lease_over", [False, True])
def test_the_watcher_sees_what_is_claimable(engine: Engine, lease_over: bool) -> None:
    receive(engine)
    with engine.connect() as connection:
        assert store.pending(connection, "lead_to_client")
        assert not store.pending(connection, "another")
    claim(engine)
    if lease_over:
        change(engine, "update claims set lease_until = now() - interval '1 second'")
    with engine.connect() as connection:
        assert store.pending(connection, "lead_to_client") is lease_over
