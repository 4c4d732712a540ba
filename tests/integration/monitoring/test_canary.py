"""The canary takes the way of every failure, and its absence is told by the other route."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.systems import Mode
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble
from include.monitoring.watching import canary
from include.monitoring.watching.wellbeing import unwell
from tests.standins.slack import Slack
from tests.support.work import change, rows
from waybill.alert_delivery import tell_by_mail

Minute = Callable[..., None]


def known_failure(run_id: str) -> Trouble:
    return Trouble(
        Kind.CANARY, "alerts", f"waybill_canary/{run_id}/fail_on_purpose/-1/1", dag_id="waybill_canary", run_id=run_id,
        facts={"dag_id": "waybill_canary", "run_id": run_id, "task_id": "fail_on_purpose", "try_number": 1},
    )  # fmt: skip


def test_a_canary_that_arrives_is_taken_back_without_calling_anybody(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    canary.send(alerts, known_failure("monday"))
    assert not canary.arrived(alerts, "monday")
    minute()
    assert canary.arrived(alerts, "monday")
    assert not canary.arrived(alerts, "sunday")
    assert canary.conclude(alerts, "monday")
    minute()
    (message,) = slack.messages
    assert "Recovered: Daily test of the alerts: nothing is wrong" in message.whole
    assert rows(engine, "select * from alerts where state = 'open'") == []


def test_a_canary_that_does_not_arrive_is_told_by_mail_at_once_though_the_chat_takes_messages(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    canary.send(alerts, known_failure("monday"))
    assert not canary.conclude(alerts, "monday")
    tell_by_mail(engine, LocalMailbox(engine))
    (mail,) = rows(engine, "select subject, message->>'text' as text from mailbox")
    assert mail["subject"] == "[Waybill] The daily test of the alerts did not arrive"
    assert "/waybill/runbooks/canary_missing" in mail["text"]
    with engine.connect() as connection:
        assert unwell(connection) == ["Canary missing: see the page of alerts."]
    minute()
    assert len(rows(engine, "select * from mailbox")) == 1
    canary.send(alerts, known_failure("tuesday"))
    minute()
    assert canary.conclude(alerts, "tuesday")
    minute()
    with engine.connect() as connection:
        assert unwell(connection) == []
    assert [mail["subject"] for mail in rows(engine, "select subject from mailbox order by sent_at")][1:] == [
        "[Waybill] Recovered: The daily test of the alerts did not arrive"
    ]
    assert any("did not arrive" in message.whole for message in slack.messages)


def test_a_day_without_any_canary_is_told(engine: Engine, minute: Minute) -> None:
    minute()
    change(engine, "update life_signs set at = now() - interval '27 hours' where part = 'canary'")
    minute()
    assert [row["kind"] for row in rows(engine, "select kind from alerts")] == ["canary_missing"]
    assert len(rows(engine, "select * from mailbox")) == 1


@pytest.mark.parametrize("run_id", ["monday", "tuesday"])
def test_yesterdays_canary_does_not_swallow_todays(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute, run_id: str
) -> None:
    canary.send(alerts, known_failure("sunday"))
    minute()
    canary.send(alerts, known_failure(run_id))
    minute()
    assert canary.arrived(alerts, run_id)
    assert len(slack.messages) == 2


@pytest.mark.parametrize(("environment", "arrives"), [("staging", True), ("production", False)])
def test_a_canary_that_was_only_captured_has_not_arrived_in_a_production(
    engine: Engine, minute: Minute, monkeypatch: pytest.MonkeyPatch, environment: str, arrives: bool
) -> None:
    captured = Alerts(engine, mode=Mode.CAPTURE)
    canary.send(captured, known_failure("monday"))
    minute()
    assert rows(engine, "select mode, state from effects") == [{"mode": "capture", "state": "sent"}]
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", environment)
    assert canary.conclude(captured, "monday") is arrives
