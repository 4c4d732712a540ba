"""What happens to cases and effects, read by the team that answers for them."""

from __future__ import annotations

from typing import Any

import pytest

from include.contracts.registry import contract
from include.monitoring.alerts.messages import Kind
from tests.support.mix import known_mix
from tests.support.production import Production

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]

CONTRACT = contract("lead_to_client")
LEADS = CONTRACT.title


def channel(step: str | None = None) -> str:
    """Where the team reads that answers for a step, or for the workflow."""
    return CONTRACT.answers_for(step).chat


def leads(number: int, seed: int) -> list[dict[str, Any]]:
    """Leads that go through all steps, and get a mail."""
    return known_mix(10, seed=seed).bodies[:number]


def unusable(seed: int) -> dict[str, Any]:
    """A lead that is set aside."""
    return known_mix(10, seed=seed).bodies[9]


def address(body: dict[str, Any]) -> str:
    """Where a lead's mail goes."""
    return str(body["email"]).lower()


def hurry(world: Production) -> None:
    """Let the time pass after which what failed is tried again."""
    world.change("update effects set available_at = now() where state = 'failed' and system = 'mail'")
    world.change("update cases set available_at = now() where state = 'pending' and available_at > now()")


def test_a_case_that_is_set_aside_is_told_until_a_person_deals_with_it(world: Production) -> None:
    (answer,) = world.waybill.send([unusable(81)])
    case = world.waybill.one("select id from cases where delivery_id = cast(:id as uuid)", id=answer.receipt)
    world.waybill.settle()
    world.look()
    told = world.read("set aside at step", channel=channel("validate"))
    assert told.headline == f"{LEADS}: 1 case set aside at step “{CONTRACT.step('validate').title}”"
    assert "1 still set aside" in told.touches or "1 case still set aside" in told.touches
    assert f"case {case}" in told.touches
    assert told.heals.startswith("No")
    assert "discard" in told.do
    world.submit(f"quarantine/case/{case}", f"quarantine/case/{case}/discard", reason="a test of the alerts")
    over = world.recovered(told.headline, channel=channel("validate"))
    assert over.heals == "It is over: every case was released or discarded."


def test_an_effect_that_a_system_refuses_for_good_is_told_and_so_is_what_became_of_it(world: Production) -> None:
    (body,) = leads(1, 82)
    world.post.unknown.add(address(body))
    world.waybill.send([body])
    world.waybill.settle()
    world.look()
    told = world.read("given up (mail.send_mail)", channel=channel("send_mail"))
    assert told.headline == f"{LEADS}: 1 effect given up (mail.send_mail)"
    assert "mail refused send_mail" in told.broke
    assert "1 effect for 1 case" in told.touches
    assert address(body) not in world.posted(told.headline)[0].whole, "no personal data"
    assert told.heals.startswith("No")
    effect = world.waybill.one(
        "select id from effects where state = 'dead' and system = 'mail' order by id desc limit 1"
    )
    world.submit(f"effects/{effect}", f"effects/{effect}", action="give_up", reason="nobody is there")
    over = world.recovered(told.headline, channel=channel("send_mail"))
    assert over.heals == "It is over: 1 effect withdrawn for good."


def test_a_system_that_is_away_is_told_once_and_its_effects_resume_by_themselves(world: Production) -> None:
    """The two minutes for which it must be away, and the waits between tries, are moved."""
    world.post.close()
    try:
        world.waybill.send(leads(2, 83))
        failed = "select count(*) from effects where state = 'failed' and system = 'mail' and case_id is not null"
        world.waybill.wait_until(lambda: world.waybill.one(failed) == 2)
        tried = f"{failed} and attempts >= 3"
        world.waybill.wait_until(lambda: hurry(world) or world.waybill.one(tried) == 2, every=0.5)
        world.change("update effects set created_at = created_at - interval '5 minutes' where state = 'failed'")
        world.change("update effects set sent_at = sent_at - interval '5 minutes' where state = 'sent'")
        world.look()
        told = world.read("The system mail does not answer")
        assert "2 effects for 2 cases of lead_to_client" in told.touches
        assert told.heals.startswith("Yes, once it is back")
        assert "connection's address" in told.do
    finally:
        world.post.open()
    world.waybill.wait_until(lambda: hurry(world) or world.waybill.settled(), every=0.5)
    assert world.recovered(told.headline).heals == "It is over: the system takes effects again."


def note_what_is_promised(world: Production) -> None:
    """Look until the newest events are noted for good: those that transactions may still precede are read again."""
    newest = world.waybill.one("select max(id) from events")
    for _ in range(4):
        if world.waybill.one("select seen_event from service_level_looks") >= newest:
            return
        world.look()
    raise AssertionError("the looks do not come as far as the newest event")


def test_cases_and_effects_that_nobody_takes_and_are_late_are_told_while_their_dag_is_paused(world: Production) -> None:
    """The quarter of an hour for which nobody may have taken any is moved, and the time that was promised."""
    world.post.close()
    try:
        (body,) = leads(1, 84)
        world.waybill.send([body])
        failed = "select count(*) from effects where state = 'failed' and system = 'mail' and case_id is not null"
        world.waybill.wait_until(lambda: world.waybill.one(failed) == 1)
        world.waybill.pause("lead_to_client")
    finally:
        world.post.open()
    try:
        world.waybill.send(leads(3, 85))
        note_what_is_promised(world)
        world.change("update claims set claimed_at = claimed_at - interval '20 minutes'")
        world.change("update cases set available_at = now() - interval '20 minutes' where state = 'pending'")
        world.change("update effects set available_at = now() - interval '20 minutes' where state = 'failed'")
        world.change("update effects set sent_at = sent_at - interval '20 minutes' where state = 'sent'")
        waiting = "ended_at is null and case_id in (select id from cases where state = 'pending' and stage = 'capture')"
        world.change(f"""
            update service_levels set warn_at = now() - interval '1 minute', due_at = now() + interval '10 minutes'
            where step is null and {waiting}""")
        world.change(f"""
            update service_levels set warn_at = now() - interval '2 minutes', due_at = now() - interval '1 minute'
            where step = 'capture' and {waiting}""")
        world.look()
        inbox = world.read(f"{LEADS}: cases wait, and nobody takes them", channel=channel())
        assert "4 cases of" in inbox.touches
        assert inbox.heals.startswith("No")
        assert "lead_to_client is paused" in inbox.do
        ledger = world.read("Effects for mail wait, and nothing is sent")
        assert "1 effect for 1 case" in ledger.touches
        assert "each effect is sent once" in ledger.heals
        assert "whether the workflows' runs fail" in ledger.do
        soon = world.read(f"{LEADS}: 3 cases about to be late", channel=channel())
        assert soon.broke.startswith("Nothing yet. What was promised is")
        assert "who has the oldest" in soon.do
        late = world.read(f"{LEADS}: 3 cases late at step", channel=channel("capture"))
        assert late.heals.startswith("No")
        assert "Take the oldest first" in late.do
    finally:
        world.waybill.pause("lead_to_client", False)
    world.waybill.settle()
    assert world.recovered(inbox.headline, channel=channel()).heals == "It is over: cases are taken again."
    assert world.read(f"Recovered: {ledger.headline}").heals == "It is over: effects are sent again."
    for kind in (Kind.SERVICE_LEVEL_AT_RISK, Kind.SERVICE_LEVEL_MISSED):
        assert world.open_alerts(kind) == []
    assert len(world.post.to(address(body))) == 1
