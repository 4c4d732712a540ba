"""Whether the alerts are well is a question of its own: would the next one arrive?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine

from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble
from include.monitoring.watching.watch import watch
from include.monitoring.watching.wellbeing import unwell
from tests.integration.monitoring.test_alerts import failure
from tests.standins.airflow import Airflow
from tests.standins.slack import Slack
from tests.support.work import change
from waybill.alert_delivery import look_and_publish

Minute = Callable[..., None]


def said(engine: Engine, since: datetime | None = None) -> list[str]:
    with engine.connect() as connection:
        return unwell(connection, since=since)


def test_trouble_of_the_business_is_no_illness_of_the_alerts(engine: Engine, alerts: Alerts, minute: Minute) -> None:
    assert said(engine) == []
    alerts.raise_alert(failure())
    minute()
    change(engine, "update alerts set message_at = now() - interval '1 hour'")
    assert said(engine) == []


def test_a_connection_that_is_missing_and_a_part_that_is_silent_are(
    engine: Engine, alerts: Alerts, airflow: Airflow
) -> None:
    watch(alerts, airflow.account, missing=["waybill_chat"])
    alerts.raise_alert(Trouble(Kind.AIRFLOW_SILENT, "waybill", "x", cause="triggerer"))
    assert said(engine) == ["Connection missing: waybill_chat.", "Airflow silent: triggerer."]


def test_nobody_looking_is_unless_waybill_has_just_been_started(engine: Engine, minute: Minute) -> None:
    minute()
    change(engine, "update life_signs set at = now() - interval '11 minutes'")
    (sentence,) = said(engine)
    assert sentence.startswith("No task has looked for trouble since")
    assert said(engine, since=datetime.now(UTC)) == []


def test_an_alert_that_nothing_takes_is(engine: Engine, alerts: Alerts, airflow: Airflow, slack: Slack) -> None:
    alerts.raise_alert(failure())
    look_and_publish(alerts, airflow.account)
    assert said(engine) == []
    change(engine, "update alerts set message_at = now() - interval '20 minutes'")
    assert said(engine) == ["1 alerts could be told neither by chat nor by mail."]
    assert slack.messages == []


def test_a_production_that_sends_nothing_is(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_EFFECT_MODE", "capture")
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "staging")
    assert said(engine) == []
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "production")
    assert said(engine) == ["This production sends nothing: WAYBILL_EFFECT_MODE is capture."]
    monkeypatch.setenv("WAYBILL_EFFECT_MODE", "live")
    assert said(engine) == []


def test_alerts_that_stumbled_over_themselves_within_the_hour_are(engine: Engine, alerts: Alerts) -> None:
    alerts.problem("metrics", ValueError())
    assert said(engine) == [], "figures are no alerts"
    alerts.problem("on_task_failure", ValueError())
    assert said(engine) == ["In the last hour the alerts themselves failed, times: 1."]
    change(engine, "update alert_problems set at = now() - interval '61 minutes'")
    assert said(engine) == []
