"""What makes no task, and so no callback, is told all the same: silence, unreadable files, runs that are missed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine

from include.contracts.registry import load_teams
from include.integrations import ledger
from include.integrations.systems import Effect, Mode
from include.monitoring.alerts.raising import FALLBACK_TEAM, STEP, Alerts
from include.monitoring.watching import signs
from include.monitoring.watching.airflow import Account
from include.monitoring.watching.backlogs import watch_backlogs
from include.monitoring.watching.watch import silent_after, tasks_stand_still, watch
from tests.standins.airflow import Airflow
from tests.standins.slack import Slack
from tests.support.work import change, receive, rows

Minute = Callable[..., None]


def passed(engine: Engine, minutes: int) -> None:
    """Let time go by for all that is watched."""
    change(engine, "update life_signs set at = at - make_interval(mins => :m)", m=minutes)
    change(engine, "update backlog_samples set at = at - make_interval(mins => :m)", m=minutes)


def settled(engine: Engine, minute: Minute) -> None:
    """Let Waybill have been up for an hour."""
    minute()
    change(engine, "update life_signs set at = now() - interval '1 hour' where part = 'watch began'")


def opened(engine: Engine) -> list[tuple[str, str, str]]:
    found = rows(engine, "select kind, workflow, cause from alerts where state = 'open' order by kind, cause")
    return [(row["kind"], row["workflow"], row["cause"]) for row in found]


def test_a_dag_file_that_cannot_be_read_is_told_with_its_line_and_taken_back(
    engine: Engine, airflow: Airflow, slack: Slack, minute: Minute
) -> None:
    airflow.import_errors["lead_to_client/lead_to_client.py"] = (
        'Traceback (most recent call last):\n  File "/opt/lead_to_client/lead_to_client.py", line 7\n'
        "    jane@example.com\nSyntaxError: invalid syntax near jane@example.com\n"
    )
    minute()
    (message,) = slack.messages
    assert message.channel == "C-" + load_teams()[FALLBACK_TEAM].chat.lstrip("#")
    assert "The DAG file lead_to_client/lead_to_client.py cannot be read" in message.whole
    assert "SyntaxError at line 7 of lead_to_client.py" in message.whole
    assert "jane" not in message.whole
    minute()
    assert rows(engine, "select count from alerts") == [{"count": 1}]
    airflow.import_errors.clear()
    minute()
    assert opened(engine) == []
    assert "the file can be read again" in slack.messages[0].whole


def test_a_missed_schedule_is_told_unless_a_run_is_under_way_or_the_dag_was_just_paused(
    engine: Engine, airflow: Airflow, minute: Minute
) -> None:
    settled(engine, minute)
    for dag_id in ("lead_reprocess", "exchange_rates", "count_plan"):
        airflow.overdue(dag_id)
    airflow.busy.add("exchange_rates")
    airflow.paused.add("count_plan")
    minute()
    assert opened(engine) == [("schedule_missed", "lead_to_client", "lead_reprocess")]
    airflow.dags["lead_reprocess"] = datetime.now(UTC) - timedelta(minutes=5)
    minute()
    assert opened(engine) == []


def test_a_dag_that_is_paused_for_more_than_a_day_is_told_when_a_run_is_due(
    engine: Engine, airflow: Airflow, slack: Slack, minute: Minute
) -> None:
    settled(engine, minute)
    airflow.paused |= {"retention", "reports_weekly", "lead_to_client"}
    airflow.overdue("retention")
    airflow.dags["reports_weekly"] = datetime.now(UTC) + timedelta(days=3)
    minute()
    change(engine, "update life_signs set at = at - interval '23 hours' where starts_with(part, 'paused')")
    minute()
    assert opened(engine) == []
    change(engine, "update life_signs set at = at - interval '2 hours' where starts_with(part, 'paused')")
    minute()
    assert opened(engine) == [("schedule_missed", "privacy", "retention")]
    (message,) = slack.messages
    assert "retention is paused, and does not run when it should" in message.whole
    airflow.paused.remove("retention")
    airflow.dags["retention"] = datetime.now(UTC) + timedelta(hours=1)
    minute()
    assert opened(engine) == []
    airflow.paused.add("retention")
    airflow.overdue("retention")
    minute()
    assert opened(engine) == [], "paused again, its day begins anew"


def test_where_the_calendar_is_paused_on_purpose_no_pause_is_told(
    engine: Engine, airflow: Airflow, minute: Minute, monkeypatch: pytest.MonkeyPatch
) -> None:
    settled(engine, minute)
    airflow.paused.add("retention")
    airflow.overdue("retention")
    minute()
    change(engine, "update life_signs set at = at - interval '25 hours' where starts_with(part, 'paused')")
    monkeypatch.setenv("WAYBILL_PAUSE_CALENDAR", "true")
    minute()
    assert opened(engine) == []


def test_a_dag_of_a_contract_that_airflow_does_not_know_is_told(
    engine: Engine, airflow: Airflow, minute: Minute
) -> None:
    settled(engine, minute)
    del airflow.dags["lead_to_client"]
    minute()
    assert opened(engine) == [("schedule_missed", "lead_to_client", "lead_to_client")]


@pytest.mark.parametrize("part", ["triggerer", "dag_processor"])
def test_a_part_of_airflow_that_is_silent_is_told_after_two_minutes(
    engine: Engine, airflow: Airflow, slack: Slack, minute: Minute, part: str
) -> None:
    minute()
    airflow.health[part] = "unhealthy"
    minute()
    assert opened(engine) == []
    passed(engine, 3)
    change(engine, "update life_signs set at = now() where part = 'watchdog'")
    minute()
    assert opened(engine) == [("airflow_silent", "waybill", part)]
    assert "is silent" in slack.messages[0].whole
    airflow.health[part] = "healthy"
    minute()
    assert opened(engine) == []


def test_while_waybill_starts_no_dag_is_missed(engine: Engine, airflow: Airflow, minute: Minute) -> None:
    airflow.dags.clear()
    airflow.overdue("lead_reprocess")
    minute()
    assert opened(engine) == []
    settled(engine, minute)
    passed(engine, 600)
    minute()
    assert opened(engine) == []


def test_the_look_notices_that_the_watchdog_is_dead(engine: Engine, minute: Minute) -> None:
    minute()
    change(engine, "update life_signs set at = now() - interval '6 minutes' where part = 'watchdog'")
    minute()
    assert opened(engine) == [("airflow_silent", "waybill", "watchdog")]


def test_after_a_night_off_nothing_is_silent_yet(engine: Engine, airflow: Airflow, minute: Minute) -> None:
    minute()
    passed(engine, 600)
    airflow.health["dag_processor"] = "unhealthy"
    minute()
    assert opened(engine) == []


def watchdog_looks(alerts: Alerts, account: Account) -> bool:
    """Look as the watchdog does; return whether tasks stand still."""
    watch(alerts, account, looker=signs.WATCHDOG)
    with alerts.engine.connect() as connection:
        return tasks_stand_still(connection)


@pytest.mark.parametrize(("dead", "cause"), [("scheduler", "scheduler"), ("api", "api_server"), ("nothing", "look")])
def test_the_watchdog_tells_why_no_task_looks_any_more(
    alerts: Alerts, airflow: Airflow, minute: Minute, dead: str, cause: str
) -> None:
    engine = alerts.engine
    minute()
    assert not watchdog_looks(alerts, airflow.account)
    passed(engine, 11)
    change(engine, "update life_signs set at = now() where part = 'watchdog'")
    account = airflow.account
    if dead == "scheduler":
        airflow.health["scheduler"] = "unhealthy"
    elif dead == "api":
        account = Account("http://127.0.0.1:9")
        change(engine, "update life_signs set at = now() where part <> all(array['api_server', 'look'])")
    assert watchdog_looks(alerts, account)
    assert watchdog_looks(alerts, account)
    assert opened(engine) == [("airflow_silent", "waybill", cause)]
    assert rows(engine, "select count from alerts") == [{"count": 1}]
    airflow.health["scheduler"] = "healthy"
    minute()
    assert opened(engine) == []
    assert not watchdog_looks(alerts, airflow.account)


def test_the_watchdog_does_not_blame_the_time_before_it_watched(
    engine: Engine, alerts: Alerts, airflow: Airflow, minute: Minute
) -> None:
    minute()
    passed(engine, 600)
    assert not watchdog_looks(alerts, airflow.account)
    assert opened(engine) == []


@pytest.mark.parametrize("said", ["five", "74", "-1", "90.5"])
def test_the_time_until_silence_is_told_is_refused_when_it_means_nothing(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("WAYBILL_SILENT_AFTER", said)
    with pytest.raises(ValueError, match="write seconds, 75 or more"):
        silent_after()


def test_the_time_until_silence_is_told_can_be_set(
    alerts: Alerts, airflow: Airflow, minute: Minute, monkeypatch: pytest.MonkeyPatch
) -> None:
    minute()
    passed(alerts.engine, 11)
    change(alerts.engine, "update life_signs set at = now() where part = 'watchdog'")
    monkeypatch.setenv("WAYBILL_SILENT_AFTER", "600")
    assert not watchdog_looks(alerts, airflow.account)
    monkeypatch.setenv("WAYBILL_SILENT_AFTER", "300")
    assert watchdog_looks(alerts, airflow.account)


def test_an_account_that_airflow_refuses_is_told_and_its_health_is_still_seen(
    engine: Engine, airflow: Airflow, minute: Minute
) -> None:
    airflow.password = "another"
    airflow.import_errors["dags/broken.py"] = "SyntaxError"
    minute()
    assert opened(engine) == [("connection_missing", "waybill", "waybill_airflow")]
    with engine.connect() as connection:
        assert signs.last(connection, "scheduler")


def test_a_connection_that_production_lacks_is_told(engine: Engine, alerts: Alerts, airflow: Airflow) -> None:
    watch(alerts, airflow.account, missing=["waybill_chat"])
    assert opened(engine) == [("connection_missing", "waybill", "waybill_chat")]
    watch(alerts, airflow.account)
    assert opened(engine) == []
    watch(alerts, airflow.account, missing=["waybill_chat"])
    watch(alerts, airflow.account, missing=["waybill_chat"])
    assert opened(engine) == [("connection_missing", "waybill", "waybill_chat")], "again, on the same day"
    assert rows(engine, "select count from alerts") == [{"count": 1}, {"count": 1}]


def test_cases_that_nobody_takes_are_told(engine: Engine, alerts: Alerts, slack: Slack, minute: Minute) -> None:
    receive(engine, 3)
    minute()
    assert opened(engine) == []
    change(engine, "update cases set available_at = now() - interval '20 minutes'")
    minute()
    assert opened(engine) == [("inbox_growing", "lead_to_client", "stands still")]
    assert "3 cases of Lead to client are due" in slack.messages[0].whole
    change(engine, "insert into claims (workflow, run_id, lease_until) values ('lead_to_client', 'r', now())")
    watch_backlogs(alerts)
    assert opened(engine) == []


def test_a_backlog_that_moves_is_told_only_when_it_grows_for_half_an_hour(engine: Engine, alerts: Alerts) -> None:
    change(engine, "insert into claims (workflow, run_id, lease_until) values ('lead_to_client', 'r', now())")
    for _ in range(6):
        receive(engine, 30)
        change(engine, "update cases set available_at = now() - interval '20 minutes'")
        watch_backlogs(alerts)
        assert opened(engine) == []
        passed(engine, 5)
    receive(engine, 30)
    watch_backlogs(alerts)
    assert opened(engine) == [("inbox_growing", "lead_to_client", "grows")]
    change(engine, "update cases set available_at = now() + interval '1 day' where id > 5")
    passed(engine, 5)
    watch_backlogs(alerts)
    assert opened(engine) == []


def test_effects_that_nobody_sends_are_told_unless_their_system_is_known_to_be_down(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    ids = receive(engine, 2)
    change(engine, "update cases set available_at = now() + interval '1 day'")
    effects = [
        Effect(f"lead_to_client/{number}/update_crm/x/x", "crm", "upsert_contact", number, "update_crm", "x", {})
        for number in ids
    ]
    with engine.begin() as connection:
        ledger.write(connection, effects, Mode.LIVE)
    change(engine, "update effects set available_at = now() - interval '20 minutes'")
    minute()
    assert opened(engine) == [("ledger_growing", "waybill", "crm stands still")]
    assert "2 effects for 2 cases" in slack.messages[0].whole
    told = Effect("alerts/1", "crm", "upsert_contact", None, STEP, "x", {})
    with engine.begin() as connection:
        ledger.write(connection, [told], Mode.LIVE)
    change(engine, "update effects set state = 'sent', sent_at = now(), answer = '{}' where key = 'alerts/1'")
    watch_backlogs(alerts)
    assert opened(engine) == [("ledger_growing", "waybill", "crm stands still")], "alerts that leave move nothing else"
    change(engine, "insert into alerts (kind, fingerprint, workflow, cause, owner, channel, email)"
                   " values ('system_down', 'x', 'waybill', 'crm', 'platform', '#x', 'x@example.com')")  # fmt: skip
    watch_backlogs(alerts)
    assert opened(engine) == [("system_down", "waybill", "crm")]
