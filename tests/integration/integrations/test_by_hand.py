"""What a person does about effects in trouble, and that their cases go on, or are set aside, by it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from include.cases import store
from include.cases.steps import Tally
from include.integrations import by_hand, ledger
from include.integrations.by_hand import Handled
from include.integrations.systems import Effect, Failed, Mode, Outcome, PendingEffect, Settle, Unknown
from tests.integration.integrations.test_ledger import effect_states, position, run
from tests.standins.system import StandInSystem
from tests.support.work import assert_balanced, change, receive, rows, states

ANNA = "user:anna"


def in_trouble(engine: Engine, outcome: Outcome | None, cases: int = 1) -> tuple[list[int], list[int], StandInSystem]:
    """Let the first effect of each case come to `outcome`; return the cases, those effects, and the system, well again.

    Each case has a second effect, pending behind the first.
    """
    ids = receive(engine, cases)
    system = StandInSystem(Settle.LOOKUP)
    system.fault = lambda effect: outcome if effect.operation == "create" else None
    run(engine, position(engine), system)
    system.fault = lambda effect: None
    return ids, numbers(engine, "operation = 'create'"), system


def numbers(engine: Engine, which: str) -> list[int]:
    return [row["id"] for row in rows(engine, f"select id from effects where {which} order by id")]


def seen(engine: Engine, effects: Sequence[int]) -> dict[int, str]:
    """Effects as somebody sees them who looks now."""
    found = rows(engine, f"select e.id, {by_hand.AS_SEEN} as stands from effects e where e.id = any(:ids)", ids=effects)
    stands = {row["id"]: row["stands"] for row in found}
    return {effect: stands[effect] for effect in effects}


def told(engine: Engine, kind: str) -> list[dict[str, object]]:
    return rows(engine, "select case_id, actor, detail from events where kind = :kind order by id", kind=kind)


def test_a_dead_effect_that_is_retried_is_sent_and_its_case_goes_on(engine: Engine) -> None:
    cases, effects, system = in_trouble(engine, Failed("no such pipeline", permanent=True), cases=2)
    assert {state for state, _ in states(engine).values()} == {"quarantined"}
    change(engine, "update effects set created_at = now() - interval '9 days'")
    assert by_hand.retry(engine, seen(engine, effects), actor=ANNA) == Handled(effects=2, cases=2)
    assert set(states(engine).values()) == {("pending", "update_crm")}
    assert rows(engine, "select distinct attempts from effects where operation = 'create'") == [{"attempts": 1}]
    assert run(engine, position(engine, "next"), system) == Tally(taken=2, advanced=2)
    assert set(system.has.values()) == {1}
    events = told(engine, by_hand.RETRIED)
    assert [(row["case_id"], row["actor"]) for row in events] == [(case, ANNA) for case in cases]
    assert events[0]["detail"] == {"effect": effects[0], "system": "crm", "operation": "create"}
    assert_balanced(engine)


def test_a_dead_effect_that_is_retried_has_its_whole_time_again(engine: Engine) -> None:
    _, effects, system = in_trouble(engine, Failed("no such pipeline", permanent=True))
    change(engine, "update effects set created_at = now() - interval '9 days'")
    by_hand.retry(engine, seen(engine, effects), actor=ANNA)
    system.fault = lambda effect: Failed("503")
    assert run(engine, position(engine, "next"), system).put_back == 1
    assert "failed" in effect_states(engine)


def test_a_failed_effect_is_sent_at_once_and_its_case_does_not_wait_for_the_time_it_was_due(engine: Engine) -> None:
    _, effects, system = in_trouble(engine, Failed("503", retry_after=3600))
    assert by_hand.retry(engine, seen(engine, effects), actor=ANNA) == Handled(effects=1, cases=1)
    assert run(engine, position(engine, "next"), system).advanced == 1
    assert rows(engine, "select attempts from effects where operation = 'create'") == [{"attempts": 2}]


def test_two_people_who_click_at_the_same_instant_do_it_once(engine: Engine) -> None:
    _, effects, _ = in_trouble(engine, Failed("no such pipeline", permanent=True), cases=30)
    start = threading.Barrier(4)
    both_see = seen(engine, effects)

    def click(number: int) -> Handled:
        start.wait()
        chosen = both_see if number % 2 else dict(reversed(both_see.items()))
        return by_hand.retry(engine, chosen, actor=f"user:{number}")

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(click, range(4)))
    assert sorted(each.effects for each in done) == [0, 0, 0, 30]
    assert len(told(engine, by_hand.RETRIED)) == 30
    assert by_hand.retry(engine, seen(engine, effects), actor=ANNA) == Handled(0, 0), "and again is nothing"


def test_one_retries_while_another_gives_up_and_one_of_them_has_it(engine: Engine) -> None:
    _, effects, _ = in_trouble(engine, Failed("503", retry_after=3600), cases=20)
    start = threading.Barrier(2)
    both_see = seen(engine, effects)

    def retry() -> Handled:
        start.wait()
        return by_hand.retry(engine, both_see, actor=ANNA)

    def give_up() -> Handled:
        start.wait()
        return by_hand.give_up(engine, both_see, reason="not wanted", actor="user:bert")

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(retry), pool.submit(give_up)]
        retried, given_up = (each.result() for each in both)
    assert (retried.effects, given_up.effects) in {(20, 0), (0, 20)}
    effect, case = ("pending", "pending") if retried.effects else ("dead", "quarantined")
    assert {row["state"] for row in rows(engine, "select state from effects where operation = 'create'")} == {effect}
    assert {state for state, _ in states(engine).values()} == {case}


@pytest.mark.parametrize(
    "act",
    [
        lambda engine, ids: by_hand.retry(engine, seen(engine, ids), actor=ANNA),
        lambda engine, ids: by_hand.settle_as_sent(engine, seen(engine, ids), actor=ANNA),
        lambda engine, ids: by_hand.settle_as_not_sent(engine, seen(engine, ids), actor=ANNA),
        lambda engine, ids: by_hand.give_up(engine, seen(engine, ids), reason="not wanted", actor=ANNA),
    ],
)
def test_an_effect_that_is_being_sent_at_this_moment_is_not_touched(
    engine: Engine, act: Callable[[Engine, list[int]], Handled]
) -> None:
    receive(engine, 1)
    system = StandInSystem()
    handled: list[Handled] = []

    def meanwhile(effect: PendingEffect) -> Outcome | None:
        handled.append(act(engine, [effect.id]))
        return None

    system.fault = meanwhile
    assert run(engine, position(engine), system).advanced == 1
    assert handled == [Handled(0, 0)] * 2
    assert set(system.has.values()) == {1}
    assert effect_states(engine) == {"sent"}
    assert not rows(engine, "select 1 from events where actor = :anna", anna=ANNA)


def test_an_unknown_effect_that_happened_is_sent_under_their_id_and_its_case_goes_on(engine: Engine) -> None:
    (case,), (effect,), system = in_trouble(engine, Unknown("timed out"))
    assert by_hand.settle_as_sent(engine, seen(engine, [effect]), theirs=" D-77 ", actor=ANNA) == Handled(1, 1)
    (row,) = rows(engine, "select answer, sent_at is not null as at, error from effects where id = :id", id=effect)
    assert row == {"answer": {"id": "D-77", "by_hand": True}, "at": True, "error": None}
    assert run(engine, position(engine, "next"), system).advanced == 1
    assert set(system.has.values()) == {1}, "and it is not sent a second time"
    (event,) = told(engine, by_hand.SETTLED)
    assert (event["case_id"], event["actor"]) == (case, ANNA)
    assert event["detail"] == {"effect": effect, "system": "crm", "operation": "create", "happened": True}
    again = by_hand.settle_as_sent(engine, seen(engine, [effect]), theirs="D-78", actor=ANNA)
    assert again == Handled(0, 0), "the first word counts"


def test_an_unknown_effect_that_did_not_happen_is_sent(engine: Engine) -> None:
    _, effects, system = in_trouble(engine, Unknown("timed out"))
    system.has.clear()
    assert by_hand.settle_as_not_sent(engine, seen(engine, effects), actor=ANNA) == Handled(effects=1, cases=1)
    assert run(engine, position(engine, "next"), system).advanced == 1
    assert set(system.has.values()) == {1}
    assert told(engine, by_hand.SETTLED)[0]["detail"]["happened"] is False  # type: ignore[index]


def test_a_dead_effect_that_was_done_by_hand_lets_its_case_go_on_without_sending_it(engine: Engine) -> None:
    _, effects, system = in_trouble(engine, Failed("no such pipeline", permanent=True))
    by_hand.give_up(engine, seen(engine, effects), reason="Bert enters it there", actor=ANNA)
    assert by_hand.settle_as_sent(engine, seen(engine, effects), theirs="D-1", actor=ANNA) == Handled(1, 1)
    assert run(engine, position(engine, "next"), system).advanced == 1
    assert [key for key in system.has if "/create/" in key] == []


def test_only_what_nobody_knows_is_said_not_to_have_happened(engine: Engine) -> None:
    _, effects, _ = in_trouble(engine, Failed("503", retry_after=3600))
    assert by_hand.settle_as_not_sent(engine, seen(engine, effects), actor=ANNA) == Handled(0, 0)
    assert by_hand.settle_as_sent(engine, seen(engine, effects), actor=ANNA) == Handled(0, 0)


@pytest.mark.parametrize("outcome", [Failed("503", retry_after=3600), Unknown("timed out")])
def test_an_effect_that_is_given_up_sets_its_case_aside_and_is_never_sent(engine: Engine, outcome: Outcome) -> None:
    (case,), (effect,), system = in_trouble(engine, outcome)
    system.has.clear()
    assert by_hand.give_up(engine, seen(engine, [effect]), reason=" no client any more ", actor=ANNA) == Handled(1, 1)
    (aside,) = rows(engine, "select state, reasons from cases")
    assert aside["state"] == "quarantined"
    assert aside["reasons"][0]["code"] == "effect.crm"
    assert "no client any more" in aside["reasons"][0]["message"]
    change(engine, "update cases set available_at = now()")
    assert store.claim(engine, workflow="lead_to_client", steps=["capture", "log"], run_id="next") is None
    (event,) = told(engine, by_hand.GIVEN_UP)
    assert (event["case_id"], event["actor"]) == (case, ANNA)
    assert event["detail"]["reason"] == "no client any more"  # type: ignore[index]
    assert by_hand.retry(engine, seen(engine, [effect]), actor=ANNA) == Handled(0, 0), "it is not sent again by this"
    assert by_hand.give_up(engine, seen(engine, [effect]), reason="again", actor=ANNA) == Handled(0, 0)
    assert system.has == {}


def test_releasing_the_case_plans_anew_what_was_given_up(engine: Engine) -> None:
    cases, effects, system = in_trouble(engine, Failed("503", retry_after=3600))
    by_hand.give_up(engine, seen(engine, effects), reason="a mistake", actor=ANNA)
    store.release(engine, cases, first_step="capture", actor=ANNA)
    assert run(engine, position(engine, "next"), system).advanced == 1
    assert set(system.has.values()) == {1}


def test_nothing_is_given_up_of_a_case_that_a_run_works_on(engine: Engine) -> None:
    """The run would plan it anew, and what was given up would leave."""
    _, effects, system = in_trouble(engine, Failed("503", retry_after=3600))
    change(engine, "update cases set available_at = now()")
    where = position(engine, "next")
    assert by_hand.give_up(engine, seen(engine, effects), reason="not wanted", actor=ANNA) == Handled(0, 0)
    run(engine, where, system)
    assert by_hand.give_up(engine, seen(engine, effects), reason="not wanted", actor=ANNA) == Handled(1, 1)


@pytest.mark.parametrize(
    "act",
    [
        lambda engine, shown: by_hand.retry(engine, shown, actor=ANNA),
        lambda engine, shown: by_hand.settle_as_sent(engine, shown, actor=ANNA),
        lambda engine, shown: by_hand.settle_as_not_sent(engine, shown, actor=ANNA),
        lambda engine, shown: by_hand.give_up(engine, shown, reason="not wanted", actor=ANNA),
    ],
)
@pytest.mark.parametrize("outcome", [Unknown("timed out"), Failed("no such pipeline", permanent=True)])
def test_what_was_planned_and_sent_anew_since_somebody_looked_is_left(
    engine: Engine, act: Callable[[Engine, by_hand.Seen], Handled], outcome: Outcome
) -> None:
    """It stands as it stood, after as many attempts: these count anew when a case's release plans it once more."""
    cases, effects, system = in_trouble(engine, outcome)
    change(engine, "update effects set created_at = created_at - interval '1 hour'")
    shown = seen(engine, effects)
    by_hand.give_up(engine, shown, reason="a mistake", actor="user:bert")
    store.release(engine, cases, first_step="capture", actor="user:bert")
    system.fault = lambda effect: outcome if effect.operation == "create" else None
    run(engine, position(engine, "next"), system)
    assert rows(engine, "select attempts from effects where id = :id", id=effects[0]) == [{"attempts": 1}]
    assert act(engine, shown) == Handled(0, 0)


def test_an_unknown_effect_that_was_only_looked_up_again_is_still_what_somebody_saw(engine: Engine) -> None:
    _, effects, _ = in_trouble(engine, Unknown("timed out"))
    shown = seen(engine, effects)
    change(engine, "update effects set error = 'not found yet', available_at = now() + interval '1 minute'")
    assert by_hand.settle_as_not_sent(engine, shown, actor=ANNA) == Handled(1, 1)


def test_giving_up_needs_a_reason(engine: Engine) -> None:
    with pytest.raises(ValueError, match="reason"):
        by_hand.give_up(engine, {1: "dead 1 0"}, reason=" ", actor=ANNA)


def test_a_case_with_another_dead_effect_stays_set_aside(engine: Engine) -> None:
    (case,) = receive(engine, 1)
    system = StandInSystem()
    system.fault = lambda effect: Failed("no such pipeline", permanent=True)
    run(engine, position(engine), system)
    change(engine, "update effects set state = 'dead', error = 'no such stage' where operation = 'update'")
    first, second = numbers(engine, "state = 'dead'")
    assert by_hand.retry(engine, seen(engine, [first]), actor=ANNA) == Handled(effects=1, cases=0)
    assert states(engine)[case] == ("quarantined", "update_crm")
    assert by_hand.retry(engine, seen(engine, [second]), actor=ANNA) == Handled(effects=1, cases=1)
    assert states(engine)[case] == ("pending", "update_crm")


def test_a_case_that_is_set_aside_for_another_reason_stays_there(engine: Engine) -> None:
    (case,), effects, _ = in_trouble(engine, Failed("no such pipeline", permanent=True))
    change(engine, """update cases set reasons = reasons || '[{"code": "email.invalid", "message": "no"}]'""")
    assert by_hand.retry(engine, seen(engine, effects), actor=ANNA) == Handled(effects=1, cases=0)
    assert states(engine)[case] == ("quarantined", "update_crm")


def test_nothing_is_retried_that_nobody_would_send(engine: Engine) -> None:
    cases, effects, _ = in_trouble(engine, Failed("no such pipeline", permanent=True))
    store.discard(engine, cases, reason="not needed", actor=ANNA)
    assert by_hand.retry(engine, seen(engine, effects), actor=ANNA) == Handled(0, 0)
    assert by_hand.give_up(engine, seen(engine, effects), reason="not needed", actor=ANNA) == Handled(1, 0)


def test_an_effect_of_no_case_is_retried_and_given_up_with_its_event(engine: Engine) -> None:
    system = StandInSystem()
    system.fault = lambda effect: Failed("no such channel", permanent=True)
    with engine.begin() as connection:
        message = Effect("alerts/alert/1/1", "chat", "create", None, "alerts", "#ops", {})
        ledger.write(connection, [message], Mode.LIVE)
    ledger.deliver(engine, system, system="chat")
    (effect,) = numbers(engine, "state = 'dead'")
    assert by_hand.retry(engine, seen(engine, [effect]), actor=ANNA) == Handled(1, 0)
    (event,) = rows(engine, "select workflow, case_id, actor from events where kind = :k", k=by_hand.RETRIED)
    assert event == {"workflow": "alerts", "case_id": None, "actor": ANNA}
    system.fault = lambda effect: None
    ledger.deliver(engine, system, system="chat")
    assert effect_states(engine) == {"sent"}


def test_a_message_about_a_case_that_is_given_up_does_not_stop_the_case(engine: Engine) -> None:
    (case,) = receive(engine, 1, workflow="purchase_approval", stage="approve")
    with engine.begin() as connection:
        key = f"purchase_approval/{case}/approve/post_message/x"
        ledger.write(connection, [Effect(key, "chat", "post_message", case, "approve", "x", {})], Mode.LIVE)
    shown = seen(engine, numbers(engine, "true"))
    assert by_hand.give_up(engine, shown, reason="told by phone", actor=ANNA) == Handled(1, 0)
    assert states(engine)[case] == ("pending", "approve")


def test_thousands_are_handled_by_a_few_statements(engine: Engine) -> None:
    receive(engine, 1)
    change(
        engine,
        """insert into effects (key, system, operation, step, target, payload, mode, state, error)
           select 'alerts/alert/' || n, 'chat', 'create', 'alerts', '#ops', '{}', 'live', 'dead', 'no channel'
           from generate_series(1, 20000) n""",
    )
    began = datetime.now(UTC)
    assert by_hand.retry(engine, seen(engine, numbers(engine, "state = 'dead'")), actor=ANNA).effects == 20_000
    assert datetime.now(UTC) - began < timedelta(seconds=20)
    assert len(told(engine, by_hand.RETRIED)) == 20_000
