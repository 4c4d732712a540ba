"""Alerts from trouble to message: counted, told once, updated in place, told by mail when the chat is away."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.cases.steps import Position, run_step
from include.contracts.registry import contract
from include.integrations import by_hand, ledger
from include.integrations.builtin.chat_log import ChatLog
from include.integrations.http.errors import Unavailable
from include.integrations.slack import SlackWebhook
from include.integrations.steps import run_effect_step
from include.integrations.systems import Effect, Failed, Mode
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble
from include.monitoring.watching.look import look
from tests.integration.integrations.test_by_hand import seen
from tests.standins.slack import WEBHOOK_PATH, Slack
from tests.standins.system import StandInSystem
from tests.support.work import change, receive, rows
from waybill.alert_delivery import tell_by_chat

Minute = Callable[..., None]


def failure(number: int = 1, *, step: str = "update_crm", cause: str = "ConnectError") -> Trouble:
    run_id = f"run-{number}"
    return Trouble(
        Kind.TASK_FAILED, "lead_to_client", f"lead_to_client/{run_id}/{step}", step=step, cause=cause,
        dag_id="lead_to_client", run_id=run_id,
        facts={"dag_id": "lead_to_client", "run_id": run_id, "task_id": step, "try_number": 5},
    )  # fmt: skip


def upsert(case_id: int) -> Effect:
    key = f"lead_to_client/{case_id}/update_crm/upsert_contact/x"
    return Effect(key, "crm", "upsert_contact", case_id, "update_crm", "x", {})


def set_aside(engine: Engine, cases: int, reason: Reason, step: str = "validate") -> list[int]:
    ids = receive(engine, cases)
    claim = store.claim(
        engine, workflow="lead_to_client", steps=contract("lead_to_client").step_ids, run_id="run-q", limit=10_000
    )
    assert claim is not None
    change(engine, "update cases set stage = :step where claim_id = :claim", step=step, claim=claim.id)

    def refuse(work: Work) -> StepResult:
        return StepResult(quarantine={case_id: [reason] for case_id in work.case_ids})

    run_step(engine, Position("lead_to_client", contract("lead_to_client").step_ids, step, claim.id, "run-q"), refuse)
    return ids


def test_an_alert_reaches_the_owners_channel_with_all_that_it_must_say(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    alerts.raise_alert(failure())
    minute()
    (message,) = slack.messages
    owner = contract("lead_to_client").answers_for("update_crm")
    assert message.channel == "C-" + owner.chat.lstrip("#")
    for part in ("What broke", "Touches", "Heals by itself", "Do", "ConnectError", "after 5 tries"):
        assert part in message.whole
    links = json.dumps(message.blocks)
    assert "https://waybill.example.com/dags/lead_to_client/runs/run-1/tasks/update_crm?try_number=5|Run" in links
    assert "https://waybill.example.com/waybill/alerts/" in links
    assert "https://waybill.example.com/waybill/runbooks/task_failed|Runbook" in links


def test_a_storm_of_200_failures_is_one_message_with_their_count(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    with ThreadPoolExecutor(8) as pool:
        raised = list(pool.map(lambda number: alerts.raise_alert(failure(number)), range(200)))
    assert sum(one.new for one in raised) == 1
    minute()
    (message,) = slack.messages
    assert "200 times" in message.whole
    for number in range(200, 250):
        alerts.raise_alert(failure(number))
    minute()
    (message,) = slack.messages
    assert "250 times" in message.whole
    assert message.edits == 1


def test_the_same_occurrence_reported_twice_counts_once_even_after_it_healed(alerts: Alerts, engine: Engine) -> None:
    alerts.raise_alert(failure())
    assert not alerts.raise_alert(failure()).counted
    alerts.recover(resolution="mended", kinds=(Kind.TASK_FAILED,))
    assert not alerts.raise_alert(failure()).counted
    assert rows(engine, "select count, state from alerts") == [{"count": 1, "state": "resolved"}]


def test_delivering_again_sends_nothing_again(engine: Engine, alerts: Alerts, slack: Slack, minute: Minute) -> None:
    alerts.raise_alert(failure())
    for _ in range(4):
        minute()
    assert slack.calls == 1


def test_other_trouble_at_the_same_step_is_another_message(alerts: Alerts, slack: Slack, minute: Minute) -> None:
    alerts.raise_alert(failure(1))
    alerts.raise_alert(failure(2, cause="KeyError"))
    minute()
    assert len(slack.messages) == 2


def test_a_recovery_closes_the_message_and_calls_people_back_once(alerts: Alerts, slack: Slack, minute: Minute) -> None:
    alerts.raise_alert(failure())
    minute()
    alerts.recover(resolution="later cases passed", kinds=(Kind.TASK_FAILED,))
    for _ in range(3):
        minute()
    first, second = slack.messages
    assert "Recovered" in first.whole
    assert "later cases passed" in first.whole
    assert "Recovered" in second.text
    alerts.raise_alert(failure(2))
    minute()
    assert len(slack.messages) == 3


def test_what_healed_before_it_was_told_is_one_message(alerts: Alerts, slack: Slack, minute: Minute) -> None:
    alerts.raise_alert(failure())
    alerts.recover(resolution="it went on", kinds=(Kind.TASK_FAILED,))
    minute()
    minute()
    (message,) = slack.messages
    assert "Recovered" in message.whole


def test_trouble_that_goes_on_for_hours_is_told_again(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    alerts.raise_alert(failure(1))
    minute()
    change(engine, "update alerts set message_at = now() - interval '5 hours'")
    alerts.raise_alert(failure(2))
    minute()
    assert len(slack.messages) == 2
    assert "2 times" in slack.messages[1].whole


def test_while_slack_is_down_the_owner_gets_one_mail_and_slack_the_alert_when_it_is_back(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    slack.down = True
    alerts.raise_alert(failure())
    for _ in range(6):
        minute()
    owner = contract("lead_to_client").answers_for("update_crm")
    (mail,) = rows(engine, 'select "to", subject, message from mailbox')
    assert mail["to"] == owner.email
    assert "The chat does not take this alert." in mail["message"]["text"]
    slack.down = False
    for number in range(2, 5):
        alerts.raise_alert(failure(number))
    minute()
    minute()
    (message,) = slack.messages
    assert "4 times" in message.whole
    assert len(rows(engine, "select from mailbox")) == 1


def test_who_was_told_by_mail_hears_of_the_recovery_by_mail(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    slack.down = True
    alerts.raise_alert(failure())
    for _ in range(4):
        minute()
    alerts.recover(resolution="mended", kinds=(Kind.TASK_FAILED,))
    for _ in range(3):
        minute()
    assert [row["subject"].split("]")[1][:10] for row in rows(engine, "select subject from mailbox order by sent_at")][
        1:
    ] == [" Recovered"]
    slack.down = False
    minute()
    (message,) = slack.messages
    assert "Recovered" in message.whole


def test_an_alert_that_slack_refuses_for_good_goes_by_mail(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    slack.faults = [(200, '{"ok": false, "error": "msg_too_long"}', {"Content-Type": "application/json"})]
    alerts.raise_alert(failure())
    minute()
    assert rows(engine, "select state from effects where system = 'chat'") == [{"state": "dead"}]
    assert len(rows(engine, "select from mailbox")) == 1


def test_a_webhook_posts_the_storm_again_only_when_it_grew_tenfold(
    alerts: Alerts, slack: Slack, webhook: SlackWebhook, minute: Minute
) -> None:
    alerts.raise_alert(failure(0))
    minute(webhook)
    for number in range(1, 10):
        alerts.raise_alert(failure(number))
        minute(webhook)
    assert [f"{count} times" in message.whole for count, message in zip((1, 10), slack.messages, strict=True)] == [
        False,
        True,
    ]


def test_the_local_chat_log_shows_one_message_with_the_newest_count(
    engine: Engine, alerts: Alerts, minute: Minute
) -> None:
    alerts.raise_alert(failure(1))
    tell_by_chat(engine, ChatLog(engine))
    alerts.raise_alert(failure(2))
    minute(ChatLog(engine))
    (message,) = rows(engine, "select text from chat_log")
    assert "2 times" in message["text"]


def test_cases_set_aside_are_one_message_with_counts_by_reason_and_without_personal_data(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    reason = Reason("email.invalid", "jane.doe@example.com cannot exist", "email")
    ids = set_aside(engine, 12, reason)
    for _ in range(3):
        minute()
    (message,) = slack.messages
    assert "12 cases set aside" in message.whole
    assert "email.invalid 12" in message.whole
    assert str(ids[0]) in message.whole
    everything = json.dumps(rows(engine, "select payload, error from effects"), default=str) + message.whole
    assert "jane" not in everything
    store.release(engine, ids, first_step="capture", actor="user:ops")
    minute()
    assert "Recovered" in slack.messages[0].whole


def test_a_case_that_is_set_aside_again_is_told_again(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    ids = set_aside(engine, 1, Reason("email.invalid", "no"))
    minute()
    store.release(engine, ids, first_step="capture", actor="user:ops")
    minute()
    change(engine, "update cases set state = 'quarantined', reasons = '[{\"code\": \"phone.invalid\"}]'")
    minute()
    assert "phone.invalid 1" in slack.messages[-1].whole


def test_effects_given_up_are_told_with_their_cases_and_not_twice_as_cases_set_aside(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    ids = set_aside(engine, 3, Reason("effect.crm", "crm refused upsert_contact"), step="update_crm")
    with engine.begin() as connection:
        ledger.write(
            connection,
            [upsert(case_id) for case_id in ids],
            Mode.LIVE,
        )
        connection.execute(text("update effects set state = 'dead', error = 'anna@example.com is refused'"))
    minute()
    minute()
    (message,) = slack.messages
    assert "3 effects given up (crm.upsert_contact)" in message.whole
    assert "3 cases" in message.whole
    assert "anna" not in message.whole
    change(engine, "update effects set state = 'pending', error = null where system = 'crm'")
    minute()
    assert "Recovered" in slack.messages[0].whole
    assert "It is over: 3 effects tried again." in slack.messages[0].whole


def test_what_people_did_about_effects_that_were_given_up_is_said(engine: Engine, alerts: Alerts) -> None:
    ids = receive(engine, 4)
    with engine.begin() as connection:
        ledger.write(connection, [upsert(case_id) for case_id in ids], Mode.LIVE)
        connection.execute(text("update effects set state = 'dead', error = 'refused'"))
    look(alerts)
    effects = [row["id"] for row in rows(engine, "select id from effects where system = 'crm' order by id")]
    by_hand.give_up(engine, seen(engine, effects[:2]), reason="not wanted", actor="user:olga")
    by_hand.settle_as_sent(engine, seen(engine, effects[2:3]), theirs="42", actor="user:olga")
    look(alerts)
    assert rows(engine, "select state from alerts") == [{"state": "open"}], "one is still given up by the system"
    by_hand.retry(engine, seen(engine, effects[3:]), actor="user:olga")
    look(alerts)
    assert rows(engine, "select resolution from alerts") == [
        {"resolution": "1 effect tried again, 1 effect done by hand, 2 effects withdrawn for good"}
    ]


def test_a_system_that_nothing_reaches_is_one_alert_which_heals(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    ids = receive(engine, 4)
    with engine.begin() as connection:
        ledger.write(
            connection,
            [upsert(case_id) for case_id in ids],
            Mode.LIVE,
        )
        connection.execute(
            text("""update effects set state = 'failed', error = 'away', attempts = 4,
                                        created_at = now() - interval '1 hour'""")
        )
    for _ in range(3):
        minute()
    (message,) = slack.messages
    assert "The system crm does not answer" in message.whole
    assert "4 effects for 4 cases of lead_to_client" in message.whole
    change(
        engine, "update effects set state = 'sent', sent_at = now(), answer = '{}', error = null where system = 'crm'"
    )
    minute()
    assert "Recovered" in slack.messages[0].whole


def test_a_system_that_is_down_again_is_told_again_and_one_that_only_waits_is_not(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    """The same effect fails in both outages, and waits between them while another gets through."""
    crm, (first, second) = StandInSystem(), receive(engine, 2)

    def deliver(case_id: int) -> None:
        change(engine, "update effects set available_at = now() where case_id = :id", id=case_id)
        ledger.deliver(engine, crm, system="crm", scope=ledger.Scope([case_id]))

    def three_minutes_pass() -> None:
        for moment in ("created_at", "sent_at", "failed_at"):
            change(engine, f"update effects set {moment} = {moment} - interval '3 minutes' where system = 'crm'")
        change(engine, "update alerts set last_at = last_at - interval '3 minutes'")

    with engine.begin() as connection:
        ledger.write(connection, [replace(upsert(id), operation="create") for id in (first, second)], Mode.LIVE)
    crm.fault = lambda _: Failed("away")
    for _ in range(3):
        deliver(first)
    three_minutes_pass()
    minute()
    assert "The system crm does not answer" in slack.messages[-1].whole
    crm.fault = lambda _: None
    deliver(second)
    minute()
    assert "Recovered" in slack.messages[0].whole
    three_minutes_pass()
    minute()
    assert rows(engine, "select state from alerts") == [{"state": "resolved"}], "nothing failed since"
    crm.fault = lambda _: Failed("away again")
    deliver(first)
    for _ in range(3):
        minute()
    assert rows(engine, "select state, count from alerts order by id") == [
        {"state": "resolved", "count": 1},
        {"state": "open", "count": 1},
    ]
    assert len([message for message in slack.messages if "does not answer" in message.whole]) == 3, "with a recovery"


def test_a_system_that_cannot_even_be_read_is_an_alert_too(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    receive(engine, 3)
    steps = contract("lead_to_client").step_ids
    claim = store.claim(engine, workflow="lead_to_client", steps=steps, run_id="run-1", limit=10)
    assert claim is not None
    change(engine, "update cases set stage = 'update_crm'")

    def unreadable(work: Work, crm: object) -> list[Effect]:
        raise Unavailable("crm", "503")

    tally = run_effect_step(
        engine,
        Position("lead_to_client", steps, "update_crm", claim.id, "run-1"),
        unreadable,
        ChatLog(engine),
        system="crm",
        mode=Mode.LIVE,
    )
    assert tally.put_back == 3
    minute()
    assert slack.messages == [], "once is not down"
    # events never change, so the one that is two minutes old is written by hand
    change(
        engine,
        """insert into events (at, case_id, workflow, kind, step, actor, detail)
           select now() - interval '3 minutes', case_id, workflow, kind, step, actor, detail
           from events where kind = 'system away'""",
    )
    minute()
    (message,) = slack.messages
    assert "The system crm does not answer" in message.whole
    assert "3 cases of lead_to_client" in message.whole


def test_a_failed_step_heals_when_later_cases_pass_it(engine: Engine, alerts: Alerts) -> None:
    alerts.raise_alert(failure(step="validate"))
    assert look(alerts).recovered == 0
    receive(engine, 2)
    steps = contract("lead_to_client").step_ids
    claim = store.claim(engine, workflow="lead_to_client", steps=steps, run_id="run-2", limit=10)
    assert claim is not None
    change(engine, "update cases set stage = 'validate' where claim_id = :claim", claim=claim.id)
    assert look(alerts).recovered == 0
    run_step(engine, Position("lead_to_client", steps, "validate", claim.id, "run-2"), lambda work: None)
    assert look(alerts).recovered == 1


def test_the_webhooks_address_and_the_token_stay_out_of_the_database_and_the_logs(
    engine: Engine, alerts: Alerts, webhook: SlackWebhook, minute: Minute, request: pytest.FixtureRequest
) -> None:
    slack, caplog, capfd = map(request.getfixturevalue, ("slack", "caplog", "capfd"))
    caplog.set_level(0)
    slack.faults = [(404, f"no_service {slack.webhook}", {}), (500, slack.webhook, {})]
    alerts.raise_alert(failure())
    for _ in range(3):
        minute(webhook)
    errors = rows(engine, "select * from effects") + rows(engine, "select * from alerts")
    out, err = capfd.readouterr()
    seen = json.dumps(errors, default=str) + caplog.text + out + err
    assert len(slack.messages) == 1
    for secret in (WEBHOOK_PATH, WEBHOOK_PATH.rsplit("/", 1)[1]):
        assert secret not in seen


def test_outside_production_an_alert_is_captured_and_leaves_nothing(engine: Engine, slack: Slack, api: object) -> None:
    Alerts(engine, mode=Mode.CAPTURE).raise_alert(failure())
    tell_by_chat(engine, api)  # type: ignore[arg-type]
    assert slack.calls == 0
    assert rows(engine, "select state from effects") == [{"state": "sent"}]


def test_a_failure_of_the_alerts_themselves_is_counted(engine: Engine, alerts: Alerts) -> None:
    alerts.problem("on_task_failure", ValueError("jane@example.com"), {"run_id": "r"})
    (row,) = rows(engine, "select part, error, detail from alert_problems")
    assert row == {"part": "on_task_failure", "error": "ValueError", "detail": {"run_id": "r"}}
