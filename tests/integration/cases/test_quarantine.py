"""What a person does with cases that are set aside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from include.cases import store
from include.cases.store import Selection
from tests.support.work import assert_balanced, change, receive, rows, states


def aside(engine: Engine, *reason_codes: str) -> list[int]:
    ids = receive(engine, len(reason_codes))
    for case, code in zip(ids, reason_codes, strict=True):
        change(
            engine,
            "update cases set state = 'quarantined', stage = 'validate', "
            "reasons = jsonb_build_array(jsonb_build_object('code', cast(:code as text), 'message', 'm')) "
            "where id = :id",
            code=code,
            id=case,
        )
    return ids


def selected(engine: Engine, **which: object) -> list[int]:
    with engine.connect() as connection:
        return [case["id"] for case in store.set_aside(connection, Selection("lead_to_client", **which))]  # type: ignore[arg-type]


def test_cases_are_chosen_by_id_reason_and_time(engine: Engine) -> None:
    a, b, c = aside(engine, "phone.invalid", "phone.missing", "phonetic.other")
    now = datetime.now(UTC)
    assert selected(engine) == [a, b, c]
    assert selected(engine, case_ids=[b, 999]) == [b]
    assert selected(engine, reason="phone.invalid") == [a]
    assert selected(engine, reason="phone") == [a, b]
    assert selected(engine, until=now - timedelta(days=1)) == []
    assert selected(engine, since=now - timedelta(days=1)) == [a, b, c]


def test_a_released_case_starts_again_with_what_was_corrected(engine: Engine) -> None:
    (case,) = aside(engine, "phone.invalid")
    released = store.release(
        engine, [case], first_step="capture", actor="user:anna", corrections={"phone": "+49 911 1234"}
    )
    assert released == 1
    assert states(engine)[case] == ("pending", "capture")
    assert rows(engine, "select field, value, actor from corrections") == [
        {"field": "phone", "value": "+49 911 1234", "actor": "user:anna"}
    ]
    kinds = rows(engine, "select kind, actor, detail from events where case_id = :id order by id", id=case)
    assert kinds[-1] == {"kind": "corrected", "actor": "user:anna", "detail": {"fields": ["phone"]}}
    assert store.release(engine, [case], first_step="capture", actor="user:anna", corrections={"phone": "x"}) == 0
    assert rows(engine, "select count(*) from corrections") == [{"count": 1}], "twice is once"


def test_a_case_is_discarded_with_a_reason_only(engine: Engine) -> None:
    (case,) = aside(engine, "email.invalid")
    with pytest.raises(ValueError, match="say why"):
        store.discard(engine, [case], reason=" ", actor="user:anna")
    assert store.discard(engine, [case], reason="spam", actor="user:anna") == 1
    assert store.discard(engine, [case], reason="spam", actor="user:anna") == 0
    assert rows(engine, "select state, outcome from cases") == [{"state": "rejected", "outcome": "spam"}]
    assert_balanced(engine)


def test_only_what_is_set_aside_can_be_released(engine: Engine) -> None:
    ids = receive(engine, 2)
    assert store.release(engine, ids, first_step="capture", actor="user:anna") == 0


def test_finished_cases_of_an_interval_are_reopened(engine: Engine) -> None:
    receive(engine, 2)
    change(engine, "update cases set state = 'finished', stage = 'log', outcome = 'done', closed_at = now()")
    now = datetime.now(UTC)
    span = {"since": now - timedelta(hours=1), "until": now + timedelta(hours=1)}
    assert store.reopen(engine, workflow="lead_to_client", first_step="capture", actor="user:anna", **span) == 2
    assert rows(engine, "select distinct state, outcome from cases") == [{"state": "pending", "outcome": None}]


def test_a_handoff_opens_one_case_and_says_where_it_came_from(engine: Engine) -> None:
    (case,) = receive(engine)
    for _ in range(2):
        with store.authored(engine, actor="system:deal_to_client") as connection:
            store.hand_over(connection, to="billing", stage="received", owner="finance", case_ids=[case], waits=True)
    (billing,) = rows(engine, "select id, state, owner, parent_id from cases where workflow = 'billing'")
    assert (billing["state"], billing["owner"], billing["parent_id"]) == ("waiting", "finance", case)
    assert rows(engine, "select kind, detail from events where case_id = :id", id=billing["id"]) == [
        {"kind": "handed over", "detail": {"parent": case}}
    ]
    assert_balanced(engine)
