"""A case whose content is changed while nobody works on it goes through its workflow again."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine

from include.cases import store
from include.data.database import authored
from tests.support.work import assert_balanced, change, receive, rows, states

STAGES = ("normalise", "validate")


def standing(engine: Engine, state: str, stage: str) -> int:
    (case_id,) = receive(engine, 1)
    more = {"quarantined": ', reasons = \'[{"code": "a.b", "message": "m"}]\''}.get(state, "")
    change(
        engine,
        f"update cases set state = :state, stage = :stage{more} where id = :id",
        state=state,
        stage=stage,
        id=case_id,
    )
    return case_id


def restart(engine: Engine, case_id: int, **corrections: object) -> None:
    with authored(engine, actor="user:anna") as connection:
        store.restart(
            connection, case_id, first_step="capture", stages=STAGES, corrections=corrections, actor="user:anna"
        )


@pytest.mark.parametrize("state", ["waiting", "pending", "quarantined"])
def test_a_case_that_nobody_works_on_begins_again_with_what_was_corrected(engine: Engine, state: str) -> None:
    case_id = standing(engine, state, "validate")
    restart(engine, case_id, email="new@example.org", phone=None)
    assert states(engine) == {case_id: ("pending", "capture")}
    assert rows(engine, "select field, value, actor from corrections order by field") == [
        {"field": "email", "value": "new@example.org", "actor": "user:anna"},
        {"field": "phone", "value": None, "actor": "user:anna"},
    ]
    (event,) = rows(engine, "select actor, detail from events where kind = 'corrected'")
    assert event == {"actor": "user:anna", "detail": {"fields": ["email", "phone"]}}
    assert_balanced(engine)


@pytest.mark.parametrize(("state", "stage"), [("waiting", "log"), ("running", "validate"), ("finished", "validate")])
def test_a_case_that_is_further_on_or_worked_on_stays_as_it_is(engine: Engine, state: str, stage: str) -> None:
    (case_id,) = receive(engine, 1)
    if state == "running":
        assert store.claim(engine, workflow="lead_to_client", steps=["capture", "validate"], run_id="r") is not None
    else:
        closed = ", outcome = 'done', closed_at = now()" if state == "finished" else ""
        change(
            engine,
            f"update cases set state = :state, stage = :stage{closed} where id = :id",
            state=state,
            stage=stage,
            id=case_id,
        )
    before = states(engine)
    with pytest.raises(store.NotChangeable) as refused:
        restart(engine, case_id, email="new@example.org")
    assert (refused.value.state, refused.value.stage) == (state, stage)
    assert states(engine) == before
    assert rows(engine, "select * from corrections") == []


def test_there_must_be_such_a_case(engine: Engine) -> None:
    with pytest.raises(KeyError, match="999"):
        restart(engine, 999, email="new@example.org")
