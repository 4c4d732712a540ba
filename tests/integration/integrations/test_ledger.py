"""An effect happens once, whatever happens to whoever sends it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from include.cases import store
from include.cases.model import Work
from include.cases.steps import Position, Tally
from include.integrations.http import Unavailable
from include.integrations.steps import run_effect_step
from include.integrations.systems import Effect, Failed, Mode, Outcome, PendingEffect, Provider, Settle, Unknown
from tests.standins.system import Crash, StandInSystem
from tests.support.work import assert_balanced, change, receive, rows, states

STEPS = ["capture", "update_crm", "log"]


def plan(work: Work, provider: Provider) -> list[Effect]:
    return [
        Effect.of(work, system="crm", operation=operation, case_id=case, target=f"t{case}", payload={"case": case})
        for case in work.case_ids
        for operation in ("create", "update")
    ]


def position(engine: Engine, run_id: str = "run") -> Position:
    claimed = store.claim(engine, workflow="lead_to_client", steps=STEPS, run_id=run_id)
    assert claimed
    return Position("lead_to_client", STEPS, "update_crm", claimed.id, run_id)


def run(engine: Engine, where: Position, system: StandInSystem, mode: Mode = Mode.LIVE) -> Tally:
    return run_effect_step(engine, where, plan, system, system="crm", mode=mode)


def effect_states(engine: Engine) -> set[str]:
    return {row["state"] for row in rows(engine, "select state from effects")}


def test_effects_are_sent_in_the_order_that_they_depend_on_each_other(engine: Engine) -> None:
    receive(engine, 3)
    system = StandInSystem()
    assert run(engine, position(engine), system) == Tally(taken=3, advanced=3)
    assert [operation for operation, _ in system.calls] == ["create", "update"]
    assert set(system.has.values()) == {1}
    assert len(system.has) == 6
    answers = rows(engine, "select answer->>'id' as id, sent_at is not null as sent from effects order by id limit 1")
    assert answers[0]["id"].startswith("theirs-")
    assert answers[0]["sent"]


def test_effects_planned_against_the_providers_order_are_all_sent(engine: Engine) -> None:
    receive(engine, 3)

    def backwards(work: Work, provider: Provider) -> list[Effect]:
        return list(reversed(plan(work, provider)))

    tally = run_effect_step(engine, position(engine), backwards, StandInSystem(), system="crm", mode=Mode.LIVE)
    assert tally == Tally(taken=3, advanced=3)


def test_effects_of_a_case_go_in_the_order_they_were_planned_whatever_their_keys_are(engine: Engine) -> None:
    receive(engine, 2)

    def downwards(work: Work, provider: Provider) -> list[Effect]:
        return [
            Effect.of(work, system="crm", operation="create", case_id=case_id, target=target, payload={})
            for case_id in work.case_ids
            for target in ("z", "m", "a")
        ]

    run_effect_step(engine, position(engine), downwards, StandInSystem(), system="crm", mode=Mode.LIVE)
    sent = rows(engine, "select case_id, array_agg(target order by id) as targets from effects group by 1")
    assert [row["targets"] for row in sent] == [["z", "m", "a"]] * 2


def test_running_the_step_again_sends_nothing(engine: Engine) -> None:
    ids = receive(engine, 3)
    system = StandInSystem()
    where = position(engine)
    run(engine, where, system)
    change(engine, "update cases set stage = 'update_crm' where id = any(:ids)", ids=ids)
    run(engine, where, system)
    assert set(system.has.values()) == {1}
    assert rows(engine, "select count(*) from effects") == [{"count": 6}]


@pytest.mark.parametrize(("policy", "times"), [(Settle.RESEND, 2), (Settle.LOOKUP, 1), (Settle.ASSUME_SENT, 1)])
def test_a_sender_that_dies_after_the_write_is_settled_by_the_operations_policy(
    engine: Engine, policy: Settle, times: int
) -> None:
    receive(engine, 1)
    system = StandInSystem(policy)
    where = position(engine)
    system.dies_after_write = True
    with pytest.raises(Crash):
        run(engine, where, system)
    assert effect_states(engine) == {"sending", "pending"}
    system.dies_after_write = False
    assert run(engine, where, system).put_back == 1, "while the lease of the dead sender holds, nobody sends"
    (case,) = rows(engine, "select available_at from cases")
    assert case["available_at"] > datetime.now(UTC) + timedelta(minutes=1), "and nobody asks again and again"
    change(engine, "update effects set lease_until = now() - interval '1 second' where state = 'sending'")
    change(engine, "update cases set available_at = now()")
    assert run(engine, position(engine, "next"), system).advanced == 1
    created = [key for key in system.has if "/create/" in key]
    assert [system.has[key] for key in created] == [times]
    if policy is Settle.ASSUME_SENT:
        assert rows(engine, "select answer from effects where operation = 'create'") == [{"answer": {"assumed": True}}]


def test_a_sender_that_dies_before_the_write_is_settled_by_asking(engine: Engine) -> None:
    receive(engine, 1)
    system = StandInSystem(Settle.LOOKUP)
    where = position(engine)

    def dies(effect: PendingEffect) -> Outcome | None:
        raise Crash

    system.fault = dies
    with pytest.raises(Crash):
        run(engine, where, system)
    system.fault = lambda effect: None
    change(engine, "update effects set lease_until = now() - interval '1 second' where state = 'sending'")
    assert run(engine, where, system).advanced == 1
    assert set(system.has.values()) == {1}


def test_a_system_that_is_away_puts_its_cases_back_and_no_others(engine: Engine) -> None:
    ids = receive(engine, 4)
    system = StandInSystem(batch_size=1)
    system.fault = lambda effect: Failed("503", retry_after=3600) if effect.payload["case"] == ids[0] else None
    assert run(engine, position(engine), system) == Tally(taken=4, advanced=3, put_back=1)
    assert states(engine)[ids[0]] == ("pending", "update_crm")
    (away,) = rows(engine, "select available_at from cases where id = :id", id=ids[0])
    assert away["available_at"] > datetime.now(UTC) + timedelta(minutes=50), "Retry-After is kept"
    assert_balanced(engine)


def test_a_system_that_cannot_be_read_for_the_plan_lets_every_case_wait(engine: Engine) -> None:
    receive(engine, 60)

    def reads(work: Work, provider: Provider) -> list[Effect]:
        raise Unavailable("crm", "left alone", retry_after=3600)

    tally = run_effect_step(engine, position(engine), reads, StandInSystem(), system="crm", mode=Mode.LIVE)
    assert tally == Tally(taken=60, put_back=60)
    assert set(states(engine).values()) == {("pending", "update_crm")}
    soonest = rows(engine, "select min(available_at) as at, count(attempts > 0 or null) as blamed from cases")[0]
    assert soonest["at"] > datetime.now(UTC) + timedelta(minutes=50), "Retry-After is kept"
    assert soonest["blamed"] == 0
    assert_balanced(engine)


def test_a_refused_effect_quarantines_its_case_with_the_systems_words(engine: Engine) -> None:
    ids = receive(engine, 2)
    system = StandInSystem()
    system.fault = lambda effect: (
        Failed("no such pipeline", permanent=True) if effect.payload["case"] == ids[1] else None
    )
    assert run(engine, position(engine), system) == Tally(taken=2, advanced=1, quarantined=1)
    (aside,) = rows(engine, "select reasons from cases where id = :id", id=ids[1])
    assert aside["reasons"][0]["code"] == "effect.crm"
    assert "no such pipeline" in aside["reasons"][0]["message"]
    assert rows(engine, "select kind from events where case_id = :id and kind like 'effect%'", id=ids[1])


def test_an_effect_that_was_given_up_is_tried_again_when_its_case_is_released(engine: Engine) -> None:
    (case,) = receive(engine, 1)
    system = StandInSystem()
    system.fault = lambda effect: Failed("no such pipeline", permanent=True)
    run(engine, position(engine), system)
    system.fault = lambda effect: None
    store.release(engine, [case], first_step="capture", actor="user:anna")
    assert run(engine, position(engine, "after"), system).advanced == 1
    assert set(system.has.values()) == {1}


def test_an_effect_that_fails_for_days_is_dead(engine: Engine) -> None:
    receive(engine, 1)
    system = StandInSystem()
    system.fault = lambda effect: Failed("503")
    run(engine, position(engine), system)
    change(engine, "update effects set created_at = now() - interval '4 days', available_at = now()")
    change(engine, "update cases set available_at = now()")
    assert run(engine, position(engine, "later"), system).quarantined == 1


@pytest.mark.parametrize("mode", [Mode.CAPTURE, Mode.SHADOW])
def test_outside_production_nothing_leaves(engine: Engine, mode: Mode) -> None:
    receive(engine, 2)
    system = StandInSystem()
    assert run(engine, position(engine), system, mode).advanced == 2
    assert system.calls == []
    captured = rows(engine, "select distinct state, mode, answer->'captured' as captured from effects")
    assert captured == [{"state": "sent", "mode": mode, "captured": True}]


def test_a_provider_that_raises_has_done_nobody_knows_what(engine: Engine) -> None:
    receive(engine, 1)
    system = StandInSystem()

    def breaks(effect: PendingEffect) -> Outcome | None:
        raise RuntimeError("a fault in the provider")

    system.fault = breaks
    assert run(engine, position(engine), system).put_back == 1
    assert "unknown" in effect_states(engine)


def test_many_senders_at_once_send_each_effect_once(engine: Engine) -> None:
    receive(engine, 50)
    system = StandInSystem(batch_size=7)
    where = position(engine)
    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(run, engine, where, system) for _ in range(6)]:
            future.result()
    change(engine, "update cases set available_at = now()")
    if rows(engine, "select 1 from cases where state = 'pending'"):
        run(engine, position(engine, "rest"), system)
    assert len(system.has) == 100
    assert set(system.has.values()) == {1}
    assert {state for state, _ in states(engine).values()} == {"running"}


Script = Sequence[str]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    script=st.lists(st.sampled_from(["ok", "away", "unknown", "lost answer", "dies"]), min_size=1, max_size=8),
    seed=st.integers(0, 999),
)
def test_whatever_a_system_does_each_effect_ends_sent_and_took_place_once(
    engine: Engine, script: Script, seed: int
) -> None:
    """Every sequence of faults, followed by good weather, ends with each effect there exactly once."""
    receive(engine, 3)
    chance = random.Random(seed)
    system = StandInSystem(Settle.LOOKUP, batch_size=2)
    system.operations["update"] = system.operations["create"].__class__("update", Settle.LOOKUP)

    def weather(kind: str, effect: PendingEffect) -> Outcome | None:
        hit = chance.random() < 0.6
        if kind == "away" and hit:
            return Failed("503", retry_after=0)
        if kind == "unknown" and hit:
            return Unknown("timed out")
        if kind == "dies" and hit:
            raise Crash
        return None

    for number, kind in enumerate([*script, *["ok"] * 4]):
        change(engine, "update effects set available_at = now() where state <> 'sent'")
        change(engine, "update effects set lease_until = now() - interval '1 second' where state = 'sending'")
        change(engine, "update cases set available_at = now() where state = 'pending'")
        change(engine, "update claims set lease_until = now() - interval '1 second'")
        change(engine, "update cases set attempts = 0")
        claimed = store.claim(
            engine, workflow="lead_to_client", steps=STEPS, run_id=f"{seed}-{number}-{random.random()}"
        )
        if claimed is None:
            continue
        system.fault = lambda effect, kind=kind: weather(kind, effect)  # type: ignore[misc]
        system.dies_after_write = kind == "lost answer"
        with suppress(Crash):
            run(engine, Position("lead_to_client", STEPS, "update_crm", claimed.id, "r"), system)
    assert effect_states(engine) == {"sent"}
    assert set(system.has.values()) == {1}
    assert {stage for _, stage in states(engine).values()} == {"log"}
    assert_balanced(engine)
