"""Storms, and alerts that are quiet for a while, when the chat is away: nothing is lost, and nobody is flooded."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from include.monitoring.alerts import quiet
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import SECOND_ROUTE_ATTEMPTS, Alerts
from tests.integration.monitoring.test_alerts import failure
from tests.standins.slack import Slack
from tests.support.work import change, rows

Minute = Callable[..., None]
OLGA = "user:olga"


def hold(alerts: Alerts, alert_id: int, how: quiet.How) -> None:
    until = datetime.now(UTC) + timedelta(hours=1)
    assert quiet.hold(alerts.engine, [alert_id], how, until=until, reason="night", actor=OLGA) == 1


def mails(engine: Engine) -> list[dict[str, Any]]:
    return rows(engine, "select subject, message->>'text' as message from mailbox order by sent_at")


def give_the_chat_time(minute: Minute) -> None:
    """As many minutes as it takes until a mail is written instead."""
    for _ in range(SECOND_ROUTE_ATTEMPTS + 1):
        minute()


def test_a_storm_while_the_chat_is_away_is_one_mail_and_one_message_when_it_is_back(
    alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    slack.down = True
    for number in range(20):
        alerts.raise_alert(failure(number))
    give_the_chat_time(minute)
    for number in range(20, 40):
        alerts.raise_alert(failure(number))
    give_the_chat_time(minute)
    (mail,) = mails(alerts.engine)
    assert "20 times" in mail["message"]
    slack.down = False
    minute()
    minute()
    (message,) = slack.messages
    assert "40 times" in message.whole


def test_a_storm_that_is_over_before_the_chat_is_back_is_told_as_over(
    alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    slack.down = True
    for number in range(10):
        alerts.raise_alert(failure(number))
    give_the_chat_time(minute)
    alerts.recover(resolution="mended", kinds=(Kind.TASK_FAILED,))
    minute()
    slack.down = False
    minute()
    minute()
    (message,) = slack.messages
    assert message.text.startswith("✅ Recovered")
    assert "10 times" in message.whole
    assert [mail["subject"].split("]")[1].strip()[:9] for mail in mails(alerts.engine)] == ["Lead to c", "Recovered"]


def five_times_while_it_is_held(alerts: Alerts, slack: Slack, minute: Minute, how: quiet.How) -> None:
    """Raise an alert while the chat is away, and again after somebody has taken it."""
    slack.down = True
    raised = alerts.raise_alert(failure())
    minute()
    hold(alerts, raised.alert_id, how)
    for number in range(2, 6):
        alerts.raise_alert(failure(number))
    give_the_chat_time(minute)


@pytest.mark.parametrize("how", ["acknowledged", "snoozed"])
def test_what_somebody_has_taken_while_the_chat_is_away_is_mailed_to_nobody_until_the_end(
    alerts: Alerts, slack: Slack, minute: Minute, how: quiet.How
) -> None:
    five_times_while_it_is_held(alerts, slack, minute, how)
    change(alerts.engine, "update alerts set message_at = now() - interval '5 hours'")
    give_the_chat_time(minute)
    assert mails(alerts.engine) == []

    change(alerts.engine, "update alerts set quiet_until = now() where quiet is not null")
    give_the_chat_time(minute)
    (mail,) = mails(alerts.engine)
    assert "5 times" in mail["message"]
    assert f"{how.capitalize()} by olga until" in mail["message"]
    assert "it still lasts" in mail["message"]


@pytest.mark.parametrize(
    ("how", "says"), [("acknowledged", ["5 times", "Acknowledged by olga until"]), ("snoozed", ["Once, at"])]
)
def test_what_somebody_has_taken_is_one_message_when_the_chat_is_back(
    alerts: Alerts, slack: Slack, minute: Minute, how: quiet.How, says: list[str]
) -> None:
    five_times_while_it_is_held(alerts, slack, minute, how)
    slack.down = False
    give_the_chat_time(minute)
    (message,) = slack.messages
    for part in says:
        assert part in message.whole
    assert mails(alerts.engine) == []


def test_what_was_mailed_and_then_snoozed_hears_by_mail_that_it_is_over(
    alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    slack.down = True
    raised = alerts.raise_alert(failure())
    give_the_chat_time(minute)
    hold(alerts, raised.alert_id, "snoozed")
    give_the_chat_time(minute)
    assert len(mails(alerts.engine)) == 1
    alerts.recover(resolution="mended", kinds=(Kind.TASK_FAILED,))
    give_the_chat_time(minute)
    assert "Recovered" in mails(alerts.engine)[1]["subject"]
    slack.down = False
    minute()
    assert slack.messages[0].text.startswith("✅ Recovered")


def test_maintenance_that_ends_while_the_chat_is_away_is_told_by_mail(
    alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    slack.down = True
    ends = datetime.now(UTC) + timedelta(hours=1)
    window = quiet.open_window(
        alerts.engine, what="workflow", name="lead_to_client", starts=None, ends=ends, reason="upgrade", actor=OLGA
    )
    for number in range(3):
        alerts.raise_alert(failure(number))
    give_the_chat_time(minute)
    assert mails(alerts.engine) == []
    quiet.end_window(alerts.engine, window, actor=OLGA)
    give_the_chat_time(minute)
    (mail,) = mails(alerts.engine)
    assert "3 times" in mail["message"]
    slack.down = False
    minute()
    (message,) = slack.messages
    assert "Kept quiet by maintenance" in message.whole
