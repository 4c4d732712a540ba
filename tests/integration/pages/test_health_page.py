"""The page of health: errors and reasons by step, quality by day, and how the latest runs of Airflow went."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from include.cases.model import Reason
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble
from include.monitoring.service_levels.facts import keep_up
from include.monitoring.views.health import RunFigures, run_figures
from tests.integration.monitoring.test_alerts import set_aside
from tests.support.histories import Told, cases_with
from tests.support.work import receive

pytestmark = pytest.mark.airflow


def test_errors_reasons_and_quality_are_told_by_step(engine: Engine, log_in: Any) -> None:
    receive(engine, 2)
    set_aside(engine, 2, Reason("email.invalid", "jane@example.com cannot exist"))
    trouble = {
        "kind": Kind.TASK_FAILED,
        "workflow": "lead_to_client",
        "step": "update_crm",
        "cause": "OperationalError",
    }
    for n in range(3):
        Alerts(engine).raise_alert(Trouble(**trouble, occurrence=f"try {n}"))  # type: ignore[arg-type]
    seen = log_in("viewer").text("/health")
    assert '<td>OperationalError</td><td class="number">3</td>' in seen
    assert '>email.invalid</a></td><td class="number">4</td>' in seen
    assert seen.count("<svg") == 1, "a plot of the quality of one workflow"
    assert "jane" not in seen


def test_service_levels_are_told_by_week_and_where_they_were_missed(engine: Engine, log_in: Any) -> None:
    def lead(days: int, minutes: int) -> list[Told]:
        start = datetime.now(UTC) - timedelta(days=days)
        claimed, end = start + timedelta(seconds=30), start + timedelta(minutes=minutes)
        return [
            (start, "received", "capture", "pending"),
            (claimed, "claimed", "send_mail", "running"),
            (end, "finished", "send_mail", "finished"),
        ]

    cases_with(engine, lead(14, 2), lead(14, 20), lead(7, 2), lead(7, 2))
    keep_up(engine)
    seen = log_in("viewer").text("/health")
    levels = seen[seen.index("Service levels met, by week") : seen.index("Errors by step and cause")]
    assert levels.count("<svg") == 1
    table = levels[levels.index("Where they were missed") :]
    cells = '<td class="number">3</td><td class="number">1</td><td class="number">75.0%</td>'
    assert table.count(cells) == 2
    assert f"<td>the whole case</td>{cells}" in table
    assert f"<td>send_mail</td>{cells}" in table
    assert "capture" not in table, "it was always kept"


def test_an_airflow_that_does_not_answer_is_said_and_the_rest_is_shown(
    log_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYBILL_BASE_URL", "http://127.0.0.1:9")
    assert "did not answer (ConnectError)" in log_in("viewer").text("/health")


def test_runs_are_summed_up_by_dag_those_that_fail_first() -> None:
    def run(dag_id: str, state: str, queued: int, took: int | None) -> dict[str, Any]:
        at = "2026-03-01T10:{:02}:{:02}+00:00".format
        end = None if took is None else at(0, queued + took)
        return {"dag_id": dag_id, "state": state, "queued_at": at(0, 0), "start_date": at(0, queued), "end_date": end}

    runs = [
        run("a", "success", 1, 2),
        run("a", "running", 3, None),
        run("b", "failed", 1, 9),
        run("b", "success", 1, 5),
    ]
    assert run_figures(runs) == [RunFigures("b", 2, 1, 1.0, 7.0, 9.0), RunFigures("a", 2, 0, 2.0, 2.0, 2.0)]
