"""The ways by which alerts leave: connections that are missing, the canary, and the monitor outside."""

from __future__ import annotations

import pytest

from include.monitoring.alerts.messages import Kind
from tests.support.post import subject_of
from tests.support.production import Production

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]

CANARY = "Daily test of the alerts: nothing is wrong"


def test_the_monitor_outside_hears_while_all_is_well_and_not_while_a_connection_is_missing(
    world: Production,
) -> None:
    world.look()
    heard = len(world.monitor.heard)
    assert heard
    assert set(world.monitor.heard) == {"/ping/waybill"}
    assert world.waybill.api.get("/waybill/alive").text == "well"
    world.disconnect("waybill_mail")
    try:
        world.look()
        told = world.read("The connection waybill_mail is missing or refused")
        assert "no second route" in told.broke
        assert told.touches == "Everybody who answers for a workflow."
        assert told.heals == "No."
        assert "docs/alerts.md" in told.do
        assert told.run.endswith("/connections")
        quiet = len(world.monitor.heard)
        world.look()
        assert len(world.monitor.heard) == quiet, "the monitor hears nothing, and alarms"
        assert world.waybill.api.get("/waybill/alive").status_code == 503
    finally:
        world.connect("waybill_mail")
    assert world.recovered(told.headline).heals == "It is over: it is there."
    world.waybill.wait_until(lambda: len(world.monitor.heard) > quiet, 60)
    assert world.waybill.api.get("/waybill/alive").text == "well"


def test_without_its_chat_a_production_tells_by_mail(world: Production) -> None:
    """The five minutes that a message waits for the chat are moved."""
    world.disconnect("waybill_chat")
    subject = "The connection waybill_chat is missing or refused"
    try:
        world.look()
        world.change("update alerts set message_at = message_at - interval '6 minutes' where state = 'open'")
        world.look()
        told = world.mailed(subject)
        assert "Alerts cannot reach the chat, and go by mail only" in told.broke
    finally:
        world.connect("waybill_chat")
    world.look()
    assert world.open_alerts(Kind.CONNECTION_MISSING) == []
    assert any(subject_of(one) == f"[Waybill] Recovered: {subject}" for one in world.post.mails)


def test_the_canary_that_does_not_arrive_is_told_by_mail_and_taken_back_when_one_arrives(world: Production) -> None:
    """Somebody ends the wait for it by hand, which is 20 minutes; the waits between the chat's tries are moved."""

    def wait_is_over(run: str) -> bool:
        task = f"/api/v2/dags/waybill_canary/dagRuns/{run}/taskInstances/see_it_arrive"
        if world.waybill.api.get(task).json()["state"] not in ("running", "up_for_reschedule"):
            return False
        return bool(world.waybill.api.patch(task, json={"new_state": "skipped"}).status_code == 200)

    world.chat.down = True
    try:
        lost = world.waybill.trigger("waybill_canary")
        world.waybill.wait_until(lambda: wait_is_over(lost), 60)
        world.waybill.finish("waybill_canary", lost)
        told = world.mailed("The daily test of the alerts did not arrive")
        assert "has not reached the chat" in told.broke
        assert "other alerts may be lost" in told.touches
        assert "the next test takes this back" in told.heals
        assert "which task of waybill_canary" in told.do
    finally:
        world.chat.down = False
    run = world.waybill.trigger("waybill_canary")
    world.waybill.wait_until(lambda: world.open_alerts(Kind.CANARY), 60)
    world.change("update effects set available_at = now() where state = 'failed' and step = 'alerts'")
    world.look()
    canary = world.read(CANARY)
    assert canary.touches == "Nobody."
    assert canary.heals.startswith("Yes")
    world.waybill.finish("waybill_canary", run)
    assert world.open_alerts(Kind.CANARY_MISSING) == []
    world.look()
    assert any("Recovered: The daily test" in subject_of(one) for one in world.post.mails)
    assert world.read(f"Recovered: {CANARY}").heals == "It is over: it arrived."
