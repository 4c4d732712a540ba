"""The pages that an alert's links lead to: for people who are logged in, without personal data."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from include.cases.model import Reason
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble
from include.monitoring.watching.look import look
from tests.integration.monitoring.test_alerts import set_aside

pytestmark = pytest.mark.airflow


def test_the_cases_of_an_alert_are_listed_with_codes_and_without_messages(engine: Engine, log_in: Any) -> None:
    ids = set_aside(engine, 2, Reason("email.invalid", "jane@example.com cannot exist"))
    look(Alerts(engine))
    seen = log_in("viewer").text("/alerts/1")
    assert all(f'<a href="/waybill/cases/{case_id}">{case_id}</a>' in seen for case_id in ids)
    assert "email.invalid" in seen
    assert "jane" not in seen
    assert log_in("viewer").get("/alerts/99").status_code == 404


@pytest.mark.parametrize("kind", list(Kind))
def test_every_runbook_can_be_read(log_in: Any, kind: Kind) -> None:
    assert "What it means" in log_in("viewer").text(f"/runbooks/{kind}")


def test_nothing_is_shown_to_who_is_not_logged_in_and_no_other_file(log_in: Any) -> None:
    for path in ("/alerts/1", "/runbooks/task_failed"):
        assert log_in(None).get(path).status_code == 401
    assert log_in("viewer").get("/runbooks/..%2Falerts").status_code in (404, 422)


def test_a_monitor_that_does_not_log_in_learns_whether_alerts_would_arrive_and_no_more(
    engine: Engine, log_in: Any
) -> None:
    answer = log_in(None).get("/alive")
    assert (answer.status_code, answer.text) == (200, "well")
    Alerts(engine).raise_alert(Trouble(Kind.CONNECTION_MISSING, "waybill", "x", cause="waybill_chat"))
    answer = log_in(None).get("/alive")
    assert (answer.status_code, answer.text) == (503, "unwell")


def test_a_callback_that_failed_makes_the_alerts_unwell_and_is_listed_with_its_run(engine: Engine, log_in: Any) -> None:
    assert "alerts themselves failed" not in log_in("viewer").text("/alerts")
    Alerts(engine).problem("on_task_failure", ValueError("jane@example.com"), {"run_id": "scheduled__1"})
    assert log_in(None).get("/alive").status_code == 503
    seen = log_in("viewer").text("/alerts")
    assert "In the last hour the alerts themselves failed, times: 1." in seen
    for part in ("on task failure", "ValueError", "scheduled__1"):
        assert f"<td>{part}</td>" in seen
    assert "jane" not in seen
