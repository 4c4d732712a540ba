"""What makes no task, and so no callback, is told all the same: silence, unreadable files, runs that are missed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import InternalError, OperationalError, ProgrammingError

from include.contracts.registry import load_teams
from include.data import database as data
from include.integrations import ledger
from include.integrations.slack import SlackApi
from include.integrations.systems import Effect, Mode
from include.monitoring.alerts import quiet
from include.monitoring.alerts.raising import FALLBACK_TEAM, STEP, Alerts
from include.monitoring.watching import airflow as asking
from include.monitoring.watching import signs, turns
from include.monitoring.watching.airflow import Account
from include.monitoring.watching.backlogs import watch_backlogs
from include.monitoring.watching.watch import silent_after, tasks_stand_still, watch
from include.monitoring.watching.wellbeing import unwell
from tests.integration.monitoring.test_alerts import failure
from tests.standins.airflow import Airflow
from tests.standins.slack import Slack
from tests.support.histories import cases_with
from tests.support.work import change, receive, rows
from waybill.alert_delivery import look_and_publish, tell_by_chat
from waybill.watching import look_and_tell

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


def test_many_files_that_cannot_be_read_are_one_message_and_one_recovery(
    engine: Engine, airflow: Airflow, slack: Slack, minute: Minute
) -> None:
    airflow.import_errors["dags/alone.py"] = "SyntaxError"
    minute()
    airflow.import_errors.update({f"dags/{number:02}.py": "ImportError" for number in range(30)})
    minute()
    assert opened(engine) == [
        ("dag_import_error", "waybill", "dags/alone.py"),
        ("dag_import_error", "waybill", "many at once"),
    ]
    assert len(slack.messages) == 2
    assert "30 DAG files cannot be read" in slack.messages[1].whole
    assert "dags/00.py, dags/01.py, dags/02.py, dags/03.py, dags/04.py and 25 more" in slack.messages[1].whole
    for number in range(28):
        del airflow.import_errors[f"dags/{number:02}.py"]
    minute()
    assert len(slack.messages) == 2, "those that are left stay together"
    assert "cannot read dags/28.py, dags/29.py." in slack.messages[1].whole
    del airflow.import_errors["dags/28.py"], airflow.import_errors["dags/29.py"]
    minute()
    assert opened(engine) == [("dag_import_error", "waybill", "dags/alone.py")]
    assert len(slack.messages) == 3
    assert "Recovered" in slack.messages[2].whole


def test_while_the_scheduler_is_silent_and_soon_after_no_schedule_is_missed(
    engine: Engine, airflow: Airflow, minute: Minute
) -> None:
    settled(engine, minute)
    airflow.health["scheduler"] = "unhealthy"
    change(engine, "update life_signs set at = now() - interval '3 minutes' where part = 'scheduler'")
    late = ("lead_reprocess", "exchange_rates", "count_plan", "waybill_alerts", "waybill_canary")
    for dag_id in late:
        airflow.overdue(dag_id)
    minute()
    assert opened(engine) == [("airflow_silent", "waybill", "scheduler")]
    airflow.health["scheduler"] = "healthy"
    minute()
    assert opened(engine) == [], "it has a quarter of an hour to make them"
    settled(engine, minute)
    minute()
    assert opened(engine) == [("schedule_missed", "waybill", "many at once")]
    (alert,) = rows(engine, "select facts from alerts where state = 'open'")
    assert (alert["facts"]["many"], alert["facts"]["names"]) == (5, sorted(late))


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


def test_the_watchdog_tells_files_at_once_and_asks_for_all_dags_only_when_no_task_does(
    engine: Engine, alerts: Alerts, airflow: Airflow, minute: Minute
) -> None:
    settled(engine, minute)
    airflow.asked = 0
    airflow.import_errors["dags/broken.py"] = "SyntaxError"
    airflow.overdue("lead_reprocess")
    watchdog_looks(alerts, airflow.account)
    assert airflow.asked == 0
    assert opened(engine) == [("dag_import_error", "waybill", "dags/broken.py")]
    change(engine, "update life_signs set at = now() - interval '6 minutes' where part = 'files and schedules'")
    for _ in range(2):
        watchdog_looks(alerts, airflow.account)
        assert airflow.asked == 1
        assert ("schedule_missed", "lead_to_client", "lead_reprocess") in opened(engine), "and it stays open"
    airflow.dags["lead_reprocess"] = None
    minute()
    assert opened(engine) == [("dag_import_error", "waybill", "dags/broken.py")]


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


def test_what_lasts_for_hours_is_told_again_once_unless_somebody_has_it(
    engine: Engine, airflow: Airflow, slack: Slack, minute: Minute
) -> None:
    minute()
    airflow.health["triggerer"] = "unhealthy"
    passed(engine, 3)
    minute()
    assert len(slack.messages) == 1
    change(engine, "update alerts set message_at = message_at - interval '5 hours'")
    for _ in range(4):
        minute()
        assert len(slack.messages) == 2
    assert slack.messages[1].whole == slack.messages[0].whole
    change(engine, "update alerts set message_at = message_at - interval '5 hours'")
    until = datetime.now(UTC) + timedelta(hours=1)
    quiet.hold(engine, [1], "acknowledged", until=until, reason="at it", actor="user:olga")
    minute()
    assert len(slack.messages) == 2
    airflow.health["triggerer"] = "healthy"
    minute()
    assert "Recovered" in slack.messages[1].whole
    assert len(slack.messages) == 3


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


def test_a_watchdog_that_cannot_tell_is_as_good_as_dead(
    engine: Engine, airflow: Airflow, minute: Minute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looks, as always, but its chat's connection is of a type that nobody knows."""
    monkeypatch.setenv("WAYBILL_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_AIRFLOW", f"http://{airflow.url.removeprefix('http://')}")
    data.engine.cache_clear()
    try:
        minute()
        look_and_tell()
        passed(engine, 6)
        monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_CHAT", "pigeon://loft")
        look_and_tell()
        assert [row["part"] for row in rows(engine, "select part from alert_problems")] == ["watchdog"]
        assert opened(engine) == [], "that is for the other to tell"
        change(engine, "update life_signs set at = now() where part = 'look'")
        minute()
        assert opened(engine) == [("airflow_silent", "waybill", "watchdog")]
        monkeypatch.delenv("AIRFLOW_CONN_WAYBILL_CHAT")
        look_and_tell()
        minute()
        assert opened(engine) == []
    finally:
        data.engine().dispose()
        data.engine.cache_clear()


def test_a_task_that_looks_and_fails_gives_no_sign(engine: Engine, alerts: Alerts, airflow: Airflow) -> None:
    """However often it tries: that somebody begins to look is no reason to give it time."""
    watchdog_looks(alerts, airflow.account)
    change(engine, "alter table backlog_samples rename to samples_away")
    for _ in range(3):
        with pytest.raises(ProgrammingError):
            look_and_publish(alerts, airflow.account)
        change(engine, "update life_signs set at = at - interval '4 minutes'")
    with engine.connect() as connection:
        assert unwell(connection)[0].startswith("No task has looked for trouble since")
    watchdog_looks(alerts, airflow.account)
    assert ("airflow_silent", "waybill", "look") in opened(engine)


def test_a_looker_that_is_back_does_not_tell_its_own_silence(
    engine: Engine, alerts: Alerts, airflow: Airflow, minute: Minute
) -> None:
    minute()
    watchdog_looks(alerts, airflow.account)
    change(engine, "update life_signs set at = at - interval '20 minutes' where part in ('look', 'watchdog')")
    watchdog_looks(alerts, airflow.account)
    assert opened(engine) == [("airflow_silent", "waybill", "look")]
    minute()
    assert opened(engine) == [("airflow_silent", "waybill", "look")], "it has not delivered anything yet"
    minute()
    assert opened(engine) == []


def test_one_who_looks_for_ever_holds_the_others_up_for_a_moment_and_nothing_that_is_due(
    alerts: Alerts, airflow: Airflow, api: SlackApi, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "LONGEST_WAIT", timedelta(seconds=0.2))
    alerts.raise_alert(failure())
    airflow.import_errors["dags/broken.py"] = "SyntaxError"
    with alerts.engine.begin() as frozen:
        frozen.execute(text("select pg_advisory_xact_lock(hashtext('waybill.alerts.look'))"))
        with pytest.raises(OperationalError, match="lock timeout"):
            look_and_publish(alerts, airflow.account)
        tell_by_chat(alerts.engine, api)
    assert len(slack.messages) == 2, "what was due, and what the look found that needs no lock"


def test_who_freezes_while_it_looks_loses_its_turn(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "LONGEST_IDLE", timedelta(seconds=0.3))
    with engine.connect() as frozen, engine.begin() as other:
        turns.take(frozen, "alerts.look")
        turns.take(other, "alerts.look")
        with pytest.raises(InternalError, match="idle-in-transaction"):
            frozen.execute(text("select 1"))


@pytest.mark.parametrize("status", [500, 403])
@pytest.mark.parametrize("part", ["metadatabase", "scheduler"])
def test_what_airflow_does_not_answer_stops_no_other_watching(
    engine: Engine, airflow: Airflow, minute: Minute, status: int, part: str
) -> None:
    minute()
    start = datetime.now(UTC) - timedelta(days=30)
    cases_with(engine, [(start, "received", "capture", "pending"), (start, "advanced", "log", "running")])
    passed(engine, 3)
    airflow.health[part] = "unhealthy"
    airflow.refuses = status
    minute()
    found = opened(engine)
    assert ("airflow_silent", "waybill", part) in found
    assert [kind for kind, _, _ in found].count("airflow_silent") == 1
    assert "service_level_missed" in [kind for kind, _, _ in found]
    assert ("connection_missing" in [kind for kind, _, _ in found]) == (status == 403)


def test_what_airflow_does_not_answer_for_long_is_told(engine: Engine, airflow: Airflow, minute: Minute) -> None:
    minute()
    airflow.refuses = 500
    minute()
    assert opened(engine) == []
    change(engine, "update life_signs set at = now() - interval '16 minutes' where part = 'files and schedules'")
    minute()
    assert opened(engine) == [("airflow_silent", "waybill", "files and schedules")]
    airflow.refuses = None
    minute()
    assert opened(engine) == []


def test_an_api_server_that_is_slow_is_not_silent(
    engine: Engine, airflow: Airflow, minute: Minute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "TIMEOUT", httpx.Timeout(0.5))
    minute()
    passed(engine, 3)
    change(engine, "update life_signs set at = now() where part = 'watchdog'")
    airflow.hangs = 2
    minute()
    assert opened(engine) == []


def test_what_cannot_be_known_without_the_api_server_stays_as_it_is(
    engine: Engine, alerts: Alerts, airflow: Airflow, minute: Minute
) -> None:
    minute()
    airflow.health["triggerer"] = "unhealthy"
    airflow.password = "another"
    passed(engine, 3)
    minute()
    known = [("airflow_silent", "waybill", "triggerer"), ("connection_missing", "waybill", "waybill_airflow")]
    assert opened(engine) == known
    watch(alerts, replace(airflow.account, url="http://127.0.0.1:9"))
    assert opened(engine) == known


def test_after_a_night_off_nothing_is_silent_yet(engine: Engine, airflow: Airflow, minute: Minute) -> None:
    minute()
    passed(engine, 600)
    airflow.health["dag_processor"] = "unhealthy"
    minute()
    assert opened(engine) == []


def watchdog_looks(alerts: Alerts, account: Account) -> bool:
    """Look as the watchdog does, with success; return whether tasks stand still."""
    watch(alerts, account, looker=signs.WATCHDOG)
    with alerts.engine.begin() as connection:
        signs.seen(connection, [signs.WATCHDOG])
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
        account = replace(account, url="http://127.0.0.1:9")
    assert watchdog_looks(alerts, account)
    assert watchdog_looks(alerts, account)
    assert opened(engine) == [("airflow_silent", "waybill", cause)]
    assert rows(engine, "select count from alerts") == [{"count": 1}]
    airflow.health["scheduler"] = "healthy"
    minute()
    assert not watchdog_looks(alerts, airflow.account)
    assert opened(engine) == []


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
