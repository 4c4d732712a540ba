"""Tasks and runs that fail or are late, read by the team whose step it is; also by mail, when the chat is away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from include.contracts.registry import contract
from include.monitoring.alerts.messages import Kind
from tests.support.mix import known_mix
from tests.support.post import subject_of
from tests.support.production import Production

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]

CONTRACT = contract("lead_to_client")
SEGMENT = CONTRACT.answers_for("segment")
HEADLINE = f"{CONTRACT.title}: step “{CONTRACT.step('segment').title}” failed"
REPORTS = contract("reports")


@contextmanager
def broken_step(world: Production, seed: int, times: int = 1) -> Iterator[None]:
    """Send leads into a step that fails so often, and stop then; mend the step at the end, and let the leads go on."""
    world.release.fault.touch()
    try:
        world.waybill.send(known_mix(8, seed=seed).bodies)
        world.waybill.wait_until(lambda: sum(one["count"] for one in world.open_alerts(Kind.TASK_FAILED)) >= times)
        world.waybill.pause("lead_to_client")
        yield
    finally:
        world.release.fault.unlink()
        world.waybill.pause("lead_to_client", False)


def test_a_step_that_breaks_again_and_again_is_one_message_with_a_count_until_it_works(world: Production) -> None:
    """A message is updated at most every half minute, which is moved; so are the waits of the cases that failed."""
    with broken_step(world, 91):
        world.look()
        (first,) = world.posted(HEADLINE)
        assert first.edits == 0
        world.waybill.pause("lead_to_client", False)
        world.waybill.wait_until(lambda: world.open_alerts(Kind.TASK_FAILED)[0]["count"] >= 3)
        world.change("update alerts set updated_at = updated_at - interval '1 minute'")
        world.look()
        told = world.read(HEADLINE, channel=SEGMENT.chat)
        (storm,) = world.posted(HEADLINE)
    assert (storm.ts, storm.edits > 0) == (first.ts, True), "it is the same message"
    assert " times, " in told.often
    assert "ConnectionError" in told.broke
    assert "jane" not in storm.whole, "no personal data"
    assert "8 cases of Lead to client" in told.touches
    assert told.heals.startswith("Mostly")
    assert "clear the task" in told.do
    assert "/tasks/segment" in told.run
    world.waybill.settle()
    over = world.recovered(HEADLINE, channel=SEGMENT.chat)
    assert over.heals == "It is over: later cases passed the same place."
    world.waybill.assert_balanced()


def test_what_the_chat_does_not_take_is_read_in_the_mailbox_once_and_in_the_chat_when_it_is_back(
    world: Production,
) -> None:
    """The waits between the chat's tries are moved."""

    def told() -> bool:
        world.change("update effects set available_at = now() where state = 'failed' and step = 'alerts'")
        world.look()
        return any(subject_of(one) == f"[Waybill] {HEADLINE}" for one in world.post.to(SEGMENT.email))

    before = len(world.posted(HEADLINE))
    world.chat.down = True
    try:
        with broken_step(world, 92):
            world.waybill.wait_until(told, 90)
            world.look()
            mail = world.mailed(HEADLINE, SEGMENT.email)
    finally:
        world.chat.down = False
    assert "ConnectionError" in mail.broke
    assert "8 cases of Lead to client" in mail.touches
    world.waybill.settle()
    world.change("update effects set available_at = now() where state = 'failed' and step = 'alerts'")
    world.look()
    assert len(world.posted(HEADLINE)) > before, "and in the chat"
    assert any("Recovered" in subject_of(one) for one in world.post.to(SEGMENT.email)), "whoever was mailed hears"


def test_a_run_that_fails_without_a_word_of_its_tasks_is_told(world: Production) -> None:
    """Somebody marks a task as failed, by hand: Airflow calls no task's callback then."""
    world.waybill.pause("stock_items")
    run = world.waybill.queue("stock_items", rows="code")
    task = f"/api/v2/dags/stock_items/dagRuns/{run}/taskInstances/import_items"
    assert world.waybill.api.patch(task, json={"new_state": "failed"}).status_code == 200
    world.waybill.pause("stock_items", False)
    world.waybill.finish("stock_items", run, "failed")
    world.eventually_open(Kind.RUN_FAILED)
    world.look()
    owner = contract("stock_request").answers_for(None).chat
    told = world.read(": a run failed", channel=owner)
    assert f"The run {run} of stock_items failed: one of its tasks failed." in told.broke
    assert told.touches.startswith("No case")
    assert "this one stays failed" in told.heals
    assert "clear the failed tasks" in told.do
    assert told.run.endswith(f"/dags/stock_items/runs/{run.replace(':', '%3A').replace('+', '%2B')}")


def test_a_run_that_misses_its_deadline_is_told_by_the_state_it_is_in(world: Production) -> None:
    """The DAG's deadline is two seconds in this release, and the run waits, for its DAG is paused."""
    world.waybill.pause("stock_classes")
    try:
        run = world.waybill.queue("stock_classes")
        world.eventually_open(Kind.DEADLINE_MISSED)
        world.look()
        counting = contract("stock_count")
        told = world.read("a run has not started by its deadline", channel=counting.answers_for(None).chat)
        assert told.headline.startswith(counting.title)
        assert f"The run {run} of stock_classes still waits to start (due 20" in told.broke
        assert told.heals.startswith("Yes, as soon as a worker is free")
        assert "scheduler is alive" in told.do
    finally:
        world.waybill.pause("stock_classes", False)
    world.waybill.finish("stock_classes", run)
    world.waybill.wait_until(lambda: not world.open_alerts(Kind.DEADLINE_MISSED), 60)
    over = world.recovered(told.headline, channel=counting.answers_for(None).chat)
    assert over.heals == "It is over: a later run succeeded."


def test_a_report_that_is_refused_is_told_with_the_reasons_and_without_a_second_try(world: Production) -> None:
    """The figures are spoilt by hand: a lead that was answered before it came."""
    world.waybill.send(known_mix(3, seed=93).bodies)
    world.waybill.settle()
    world.change("""
        update report_lead_facts set happened_at = now() - interval '1 day', received_at = now() - interval '1 day',
                                     processed_at = now() - interval '2 days'
        where case_id = (select max(case_id) from report_lead_facts)""")
    run = world.waybill.trigger("reports_daily", reports=["leads"])
    world.waybill.finish("reports_daily", run, "failed")
    world.look()
    channel = REPORTS.answers_for("leads").chat
    told = world.read(f"{REPORTS.title}: step “{REPORTS.step('leads').title}” failed", channel=channel)
    assert "ReportRefused" in told.broke
    assert "is not published." in told.broke
    assert "expected 0, found 1" in told.broke
    assert told.touches.startswith("The readers of Leads")
    assert "?try_number=1" in told.run, "the same figures are not tried again"
    world.change("update report_lead_facts set processed_at = received_at + interval '1 minute'")
    world.waybill.finish("reports_daily", world.waybill.trigger("reports_daily", reports=["leads"]))
    world.waybill.wait_until(lambda: not world.open_alerts(Kind.TASK_FAILED), 60)
    assert world.recovered(told.headline, channel=channel).heals == "It is over: a later run succeeded."
