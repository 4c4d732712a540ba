"""Alerts that are acknowledged, snoozed or in maintenance: quiet until an end, lost never."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DatabaseError

from include.monitoring.alerts import quiet
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble
from tests.integration.monitoring.test_alerts import failure
from tests.standins.slack import Slack
from tests.support.work import change, rows

Minute = Callable[..., None]
OLGA = "user:olga"


def soon(hours: float = 1) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def time_is_up(engine: Engine) -> None:
    change(engine, "update alerts set quiet_until = now() where quiet is not null")
    change(engine, "update maintenance_windows set ends_at = now() where ends_at > now() and starts_at <= now()")


@pytest.mark.parametrize("how", ["acknowledged", "snoozed"])
@pytest.mark.parametrize(
    ("until", "reason", "why"),
    [
        (None, "I know", "without an end"),
        (datetime(2026, 1, 1, tzinfo=UTC), "I know", "is past"),
        (datetime.now(UTC) + timedelta(days=30), "I know", "at most 7 days"),
        (datetime.now(UTC) + timedelta(hours=1), "  ", "give a reason"),
    ],
)
def test_no_quiet_without_an_end_and_a_reason(
    alerts: Alerts, how: quiet.How, until: datetime | None, reason: str, why: str
) -> None:
    raised = alerts.raise_alert(failure())
    with pytest.raises(quiet.Refused, match=why):
        quiet.hold(alerts.engine, [raised.alert_id], how, until=until, reason=reason, actor=OLGA)
    assert rows(alerts.engine, "select quiet from alerts") == [{"quiet": None}]
    assert rows(alerts.engine, "select * from alert_actions") == []


def test_an_acknowledged_alert_says_who_is_at_it_and_neither_reminds_nor_mails(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    raised = alerts.raise_alert(failure())
    minute()
    assert quiet.hold(engine, [raised.alert_id], "acknowledged", until=soon(), reason="at it", actor=OLGA) == 1
    minute()
    (message,) = slack.messages
    assert "Acknowledged by olga until" in message.whole
    change(engine, "update alerts set message_at = now() - interval '5 hours'")
    alerts.raise_alert(failure(2))
    minute()
    (message,) = slack.messages
    assert "2 times" in message.whole
    assert rows(engine, "select * from mailbox") == []
    assert rows(engine, "select action, actor, reason from alert_actions") == [
        {"action": "acknowledged", "actor": OLGA, "reason": "at it"}
    ]


def test_a_snoozed_alert_is_silent_until_its_end_and_then_told_anew(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    raised = alerts.raise_alert(failure())
    minute()
    quiet.hold(engine, [raised.alert_id], "snoozed", until=soon(), reason="night", actor=OLGA)
    for number in range(2, 6):
        alerts.raise_alert(failure(number))
    minute()
    (message,) = slack.messages
    assert message.edits == 0
    time_is_up(engine)
    minute()
    minute()
    first, second = slack.messages
    assert "5 times" in second.whole
    assert "Snoozed by olga until" in second.whole
    assert "it still lasts" in second.whole
    alerts.recover(resolution="mended", kinds=(Kind.TASK_FAILED,))
    minute()
    assert "Recovered" in slack.messages[1].whole
    assert first.edits == 0


def test_a_snoozed_alert_that_heals_is_told_as_healed(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    raised = alerts.raise_alert(failure())
    minute()
    quiet.hold(engine, [raised.alert_id], "snoozed", until=soon(), reason="night", actor=OLGA)
    alerts.recover(resolution="mended", kinds=(Kind.TASK_FAILED,))
    minute()
    assert "Recovered" in slack.messages[0].whole
    assert len(slack.messages) == 2


def test_saying_it_twice_is_saying_it_once_and_resolved_alerts_are_left(engine: Engine, alerts: Alerts) -> None:
    raised, until = alerts.raise_alert(failure()), soon()
    assert quiet.hold(engine, [raised.alert_id], "snoozed", until=until, reason="night", actor=OLGA) == 1
    assert quiet.hold(engine, [raised.alert_id], "snoozed", until=until, reason="night", actor=OLGA) == 0
    assert len(rows(engine, "select * from alert_actions")) == 1
    alerts.recover(resolution="mended", kinds=(Kind.TASK_FAILED,))
    assert quiet.hold(engine, [raised.alert_id], "snoozed", until=soon(2), reason="night", actor=OLGA) == 0


def test_quiet_can_be_ended_before_its_time(engine: Engine, alerts: Alerts, slack: Slack, minute: Minute) -> None:
    raised = alerts.raise_alert(failure())
    minute()
    quiet.hold(engine, [raised.alert_id], "snoozed", until=soon(), reason="night", actor=OLGA)
    assert quiet.speak_again(engine, raised.alert_id, actor=OLGA, reason="awake")
    assert not quiet.speak_again(engine, raised.alert_id, actor=OLGA, reason="awake")
    minute()
    assert len(slack.messages) == 2


def test_what_begins_in_maintenance_and_lasts_is_told_at_its_end_and_what_does_not_never(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    quiet.open_window(
        engine, what="workflow", name="lead_to_client", starts=None, ends=soon(), reason="upgrade", actor=OLGA
    )
    alerts.raise_alert(failure(1, cause="passing"))
    alerts.raise_alert(failure(2, cause="lasting"))
    alerts.raise_alert(Trouble(Kind.TASK_FAILED, "purchase_approval", "other", step="approve"))
    minute()
    assert [message.whole for message in slack.messages if "Lead to client" in message.whole] == []
    assert len(slack.messages) == 1, "another workflow's alert is told"
    change(engine, "update alerts set state = 'resolved', resolved_at = now(), resolution = 'x', quiet = null,"
                   " quiet_until = null, version = version + 1 where cause = 'passing'")  # fmt: skip
    time_is_up(engine)
    minute()
    told = [message.whole for message in slack.messages if "Lead to client" in message.whole]
    assert len(told) == 1
    assert "lasting" in told[0]
    assert "Kept quiet by maintenance until" in told[0]


def test_maintenance_of_a_system_is_about_its_alerts_also_those_that_are_open(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    alerts.raise_alert(Trouble(Kind.SYSTEM_DOWN, "waybill", "crm", cause="crm"))
    dead = {"system": "crm", "operation": "upsert_contact"}
    alerts.raise_alert(Trouble(Kind.EFFECTS_DEAD, "lead_to_client", "1", cause="crm.upsert_contact", facts=dead))
    alerts.raise_alert(failure())
    window = quiet.open_window(
        engine, what="system", name="crm", starts=None, ends=soon(), reason="their release", actor=OLGA
    )
    alerts.speak_again()
    assert rows(engine, "select kind, quiet from alerts order by id") == [
        {"kind": "system_down", "quiet": "maintenance"},
        {"kind": "effects_dead", "quiet": "maintenance"},
        {"kind": "task_failed", "quiet": None},
    ]
    assert quiet.end_window(engine, window, actor=OLGA)
    assert not quiet.end_window(engine, window, actor=OLGA)
    assert alerts.speak_again() == 2
    assert [row["action"] for row in rows(engine, "select action from alert_actions order by id")] == [
        "window opened", "window ended"
    ]  # fmt: skip


def test_maintenance_that_is_to_come_changes_nothing_yet_and_the_same_click_twice_is_one(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    def announce() -> int:
        return quiet.open_window(
            engine, what="workflow", name="lead_to_client", starts=soon(2), ends=soon(3), reason="later", actor=OLGA
        )

    assert announce() == announce()
    alerts.raise_alert(failure())
    minute()
    assert len(slack.messages) == 1
    change(engine, "update maintenance_windows set starts_at = now() - interval '1 minute'")
    minute()
    assert rows(engine, "select quiet from alerts") == [{"quiet": "maintenance"}]


def test_the_alerts_themselves_have_no_maintenance_and_no_window_is_without_an_end(engine: Engine) -> None:
    common = {"what": "workflow", "starts": None, "reason": "rest", "actor": OLGA}
    with pytest.raises(quiet.Refused, match="nobody would hear"):
        quiet.open_window(engine, name="alerts", ends=soon(), **common)
    with pytest.raises(quiet.Refused, match="without an end"):
        quiet.open_window(engine, name="lead_to_client", ends=None, **common)
    with pytest.raises(quiet.Refused, match="at most 14 days"):
        quiet.open_window(engine, name="lead_to_client", ends=soon(24 * 20), **common)


def test_the_database_refuses_quiet_without_an_end_and_changed_history(engine: Engine, alerts: Alerts) -> None:
    raised = alerts.raise_alert(failure())
    with pytest.raises(DatabaseError, match="quiet_has_an_end"):
        change(engine, "update alerts set quiet = 'snoozed'")
    quiet.hold(engine, [raised.alert_id], "snoozed", until=soon(), reason="night", actor=OLGA)
    with pytest.raises(DatabaseError, match="append-only"), engine.begin() as connection:
        connection.execute(text("update alert_actions set reason = 'another'"))
