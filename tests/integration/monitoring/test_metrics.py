"""Waybill's own figures: counted right, sent through Airflow's client, and the only ones that dashboards ask for."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine

from include.cases.model import Reason
from include.integrations import ledger
from include.integrations.systems import Mode
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts
from include.monitoring.watching import signs
from include.monitoring.watching.metrics import METRICS, figures
from tests.integration.monitoring.test_alerts import failure, set_aside, upsert
from tests.standins.airflow import Airflow
from tests.support.work import change, receive
from waybill.alert_delivery import look_and_publish

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "deploy" / "monitoring"


def counted(engine: Engine) -> dict[tuple[str, ...], float]:
    with engine.connect() as connection:
        return {(each.name, *each.tags.values()): each.value for each in figures(connection)}


def test_the_figures_are_what_is_there_and_zero_where_nothing_is(
    engine: Engine, alerts: Alerts, minute: Callable[..., None]
) -> None:
    set_aside(engine, 2, Reason("email.invalid", "x"))
    ids = receive(engine, 3, workflow="purchase_approval")
    change(engine, "update cases set available_at = now() - interval '10 minutes' where state = 'pending'")
    with engine.begin() as connection:
        ledger.write(connection, [upsert(number) for number in ids], Mode.LIVE)
    change(engine, "update effects set available_at = now() - interval '5 minutes' where system = 'crm'")
    change(engine, "update effects set state = 'dead', error = 'no' where case_id = :id", id=ids[0])
    change(engine, "update effects set state = 'dead', error = 'withdrawn: no' where case_id = :id", id=ids[1])
    alerts.raise_alert(failure())
    minute()
    found = counted(engine)
    assert found["waybill.cases", "lead_to_client", "quarantined"] == 2
    assert found["waybill.cases", "lead_to_client", "pending"] == 0
    assert found["waybill.cases", "purchase_approval", "pending"] == 3
    assert found["waybill.inbox_oldest_seconds", "purchase_approval"] == pytest.approx(600, abs=30)
    assert found["waybill.inbox_oldest_seconds", "lead_to_client"] == 0
    assert found["waybill.effects", "crm", "dead"] == 1
    assert found["waybill.effects", "crm", "pending"] == 1
    assert found["waybill.effects_oldest_seconds", "crm"] == pytest.approx(300, abs=30)
    assert found["waybill.alerts", "task_failed"] == 1
    assert found["waybill.alerts", "system_down"] == 0
    assert found["waybill.alerts_well",] == 1
    counted_at = found["waybill.figures_timestamp_seconds",]
    assert counted_at == pytest.approx(time.time(), abs=30)
    assert found["waybill.life_sign_timestamp_seconds", "scheduler"] == pytest.approx(counted_at, abs=30)


def test_each_part_of_airflow_and_of_the_alerts_has_its_limit_and_nothing_else_is_a_part(
    engine: Engine, minute: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    minute()
    monkeypatch.setenv("WAYBILL_SILENT_AFTER", "600")
    found = counted(engine)
    assert {tags[0]: value for (name, *tags), value in found.items() if name == "waybill.life_sign_limit_seconds"} == {
        **dict.fromkeys(("scheduler", "triggerer", "dag_processor", "metadatabase", "api_server", "watchdog"), 600),
        "look": 1200,
        "canary": 26 * 3600,
    }
    signed = {tags[0] for name, *tags in found if name == "waybill.life_sign_timestamp_seconds"}
    assert "runs_read" not in signed
    assert {"scheduler", "watchdog", "canary"} <= signed


def test_every_figure_is_declared_with_its_tags_and_documented(engine: Engine, minute: Callable[..., None]) -> None:
    minute()
    with engine.connect() as connection:
        sent = {(each.name, tuple(each.tags)) for each in figures(connection)}
    assert sent == {(name, metric.tags) for name, metric in METRICS.items()}
    documented = re.findall(
        r"^\| `(waybill\.\w+)` \| ([\w, ]*)\| (.+) \|$", (ROOT / "docs/metrics.md").read_text(), re.M
    )
    assert {(name, tags.strip(), meaning) for name, tags, meaning in documented} == {
        (name, ", ".join(metric.tags), metric.meaning) for name, metric in METRICS.items()
    }


def expressions() -> Iterator[str]:
    dashboard = json.loads((MONITORING / "grafana-dashboard.json").read_text())
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for group in yaml.safe_load((MONITORING / "waybill-rules.yaml").read_text())["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def test_dashboard_and_rules_ask_for_nothing_that_is_not_sent_and_for_all_that_is() -> None:
    asked: set[str] = set()
    for expression in expressions():
        named = re.findall(r"\bairflow_\w+", expression)
        assert named, f"{expression!r} asks for nothing"
        asked |= set(named)
        tags = re.findall(r"by \(([^)]+)\)", expression) + re.findall(r"(\w+)[=!]~?\"", expression)
        known = {tag for name in named for tag in METRICS[name.removeprefix("airflow_").replace("_", ".", 1)].tags}
        assert {tag.strip() for part in tags for tag in part.split(",")} <= known, expression
    assert asked == {"airflow_" + name.replace(".", "_") for name in METRICS}


def test_each_rule_leads_to_a_runbook() -> None:
    (group,) = yaml.safe_load((MONITORING / "waybill-rules.yaml").read_text())["groups"]
    for rule in group["rules"]:
        assert (ROOT / rule["annotations"]["runbook"]).exists(), rule["alert"]
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("critical", "warning")


def values(reader: Any) -> dict[tuple[str, ...], float]:
    """What one export to a collector would hold."""
    return {
        (metric.name, *point.attributes.values()): point.value
        for resource in reader.get_metrics_data().resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
        for point in metric.data.data_points
    }


@pytest.mark.airflow
def test_they_leave_through_airflows_own_client_by_the_watchdog_alone(
    engine: Engine, alerts: Alerts, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With Airflow's OpenTelemetry logger on the SDK itself; only the network is left out."""
    from airflow.sdk._shared.observability.metrics import stats
    from airflow.sdk._shared.observability.metrics.otel_logger import SafeOtelLogger
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    reader = InMemoryMetricReader()
    logger = SafeOtelLogger(MeterProvider(metric_readers=[reader]))
    monkeypatch.setattr(stats, "_backend", logger)
    look_and_publish(alerts, airflow.account, looker=signs.WATCHDOG)
    assert reader.get_metrics_data() is None, "metrics are off"
    monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "True")
    look_and_publish(alerts, airflow.account, looker=signs.LOOK)
    assert reader.get_metrics_data() is None, "a task would send each figure a second time"
    look_and_publish(alerts, airflow.account, looker=signs.WATCHDOG)
    received = values(reader)
    assert {name for name, *_ in received} == {f"airflow.{name}" for name in METRICS}
    assert received["airflow.waybill.alerts_well",] == 1
    assert {kind for name, *kind in received if name == "airflow.waybill.alerts" for kind in kind} == set(Kind)
    # The client repeats what it was given last: a watchdog that counts no more is seen by the time alone.
    assert values(reader) == received
    look_and_publish(alerts, airflow.account, looker=signs.WATCHDOG)
    moment = ("airflow.waybill.figures_timestamp_seconds",)
    assert values(reader)[moment] > received[moment]
