"""The page of health: errors and reasons by step, quality by day, and how the latest runs of Airflow went."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text

from include.cases.model import Reason
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble
from include.monitoring.service_levels import of_runs
from include.monitoring.service_levels.facts import keep_up
from include.monitoring.views.health import quality, run_times
from include.monitoring.watching.runs import Ended
from include.stock.warehouse import FILE, VARIABLE
from tests.integration.monitoring.test_alerts import set_aside
from tests.standins.airflow import Airflow
from tests.support.histories import cases_with, lead_of
from tests.support.pages import Browser
from tests.support.work import change, receive

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
        told = Alerts(engine).raise_alert(Trouble(**trouble, occurrence=f"try {n}"))  # type: ignore[arg-type]
    seen = log_in("viewer").text("/health")
    assert f'/alerts/{told.alert_id}">task failed</a></td><td>OperationalError</td><td class="number">3</td>' in seen
    assert '>email.invalid</a></td><td class="number">4</td>' in seen
    assert seen.count("<svg") == 1, "a plot of the quality of one workflow"
    assert "jane" not in seen


def test_the_share_that_passed_the_checks_counts_each_case_once_on_the_day_it_came(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Days are the company's: in Auckland it is tomorrow already when a case comes at 23:00 UTC."""
    file = tmp_path / "warehouse.yaml"
    file.write_text(re.sub(r"(?m)^zone: .+$", "zone: Pacific/Auckland", FILE.read_text(encoding="utf-8")))
    monkeypatch.setenv(VARIABLE, str(file))
    came = (datetime.now(UTC) - timedelta(days=5)).replace(hour=23, minute=0, second=0, microsecond=0)
    stopped = [(came + timedelta(hours=1), "quarantined", "validate", "quarantined")]
    next_day = [(came + timedelta(hours=30), "quarantined", "validate", "quarantined")]
    received = [(came, "received", "capture", "pending")]
    twice, later, refused, died, _ = cases_with(
        engine,
        received + stopped + next_day,
        received + next_day,
        received + stopped,
        received + stopped,
        [(came - timedelta(hours=20), "received", "capture", "pending")],
    )
    codes = {twice: "email.invalid", later: "phone.invalid", refused: "effect.crm", died: "error.attempts"}
    with engine.begin() as connection:
        # No triggers: they keep events as they were written.
        connection.execute(text("set local session_replication_role = replica"))
        for case_id, code in codes.items():
            connection.execute(
                text("update events set detail = :detail where case_id = :id and kind = 'quarantined'"),
                {"id": case_id, "detail": Jsonb({"reasons": [{"code": code}]})},
            )
    with engine.connect() as connection:
        days = quality(connection, came - timedelta(days=3))["lead_to_client"]
    day = (came + timedelta(days=1)).date()
    assert [(each.day, each.came, each.failed) for each in days] == [(came.date(), 1, 0), (day, 4, 2)]
    assert [each.passed for each in days] == [1.0, 0.5]


def test_service_levels_are_told_by_week_and_where_they_were_missed(engine: Engine, log_in: Any) -> None:
    cases_with(engine, lead_of(14, 2), lead_of(14, 20), lead_of(7, 2), lead_of(7, 2))
    keep_up(engine)
    seen = log_in("viewer").text("/health")
    levels = seen[seen.index("Service levels met, by week") : seen.index("Errors by step and cause")]
    assert levels.count("<svg") == 1
    table = levels[levels.index("Where they were missed") :]
    cells = '<td class="number">3</td><td class="number">1</td><td class="number">75.0%</td>'
    assert table.count(cells) == 2
    assert f"<td>as a whole</td>{cells}" in table
    assert f"<td>Send the answer</td>{cells}" in table
    assert "capture" not in table, "it was always kept"


def test_a_run_without_cases_that_was_late_is_told_with_them(engine: Engine, log_in: Any) -> None:
    ended = [
        Ended("reports_daily", f"run {place}", datetime.now(UTC), failed=False, queued=1, took=took)
        for place, took in enumerate((60, 60, 9_000))
    ]
    with engine.begin() as connection:
        of_runs.count(connection, ended)
    seen = log_in("viewer").text("/health")
    levels = seen[seen.index("Service levels met, by week") : seen.index("Errors by step and cause")]
    assert levels.count("<svg") == 1
    assert '<td>as a whole</td><td class="number">2</td><td class="number">1</td>' in levels


def test_a_file_that_airflow_cannot_read_is_named_with_its_stack_trace_as_text(airflow: Airflow, log_in: Any) -> None:
    assert '<p class="good">None.</p>' in _files(log_in("viewer"))
    airflow.import_errors = {
        "dags/broken.py": "  File <string>, line 3\n</pre><script>alert('it ran')</script>\nSyntaxError: invalid",
        "dags/<img src=x onerror=alert(1)>.py": "ImportError",
    }
    seen = _files(log_in("viewer"))
    assert "<summary>dags/broken.py</summary>" in seen
    assert "File &lt;string&gt;, line 3\n&lt;/pre&gt;&lt;script&gt;alert(&#39;it ran&#39;)&lt;/script&gt;\nSynt" in seen
    assert "<summary>dags/&lt;img src=x onerror=alert(1)&gt;.py</summary>" in seen
    assert seen.count("<details>") == 2
    assert not re.search("<script|<img|did not answer|None", seen)


def test_an_airflow_that_does_not_answer_is_said_and_the_rest_is_shown(
    log_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYBILL_BASE_URL", "http://127.0.0.1:9")
    assert "did not answer (ConnectError)" in log_in("viewer").text("/health")


def test_runs_of_four_weeks_are_told_by_dag_and_over_time(engine: Engine, log_in: Any) -> None:
    change(
        engine,
        """insert into airflow_runs (hour, dag_id, runs, failed, queued, longest_queued, started, longest_took) values
           (date_trunc('hour', now()), 'a', 3, 0, 3, 4, 2, 3),
           (date_trunc('hour', now() - interval '9 days'), 'b', 2000, 1, 2000, 1, 2000, 90),
           (date_trunc('hour', now() - interval '1 day'), 'b', 2, 1, 1, 3, 0, 0),
           (date_trunc('hour', now()), 'x_decision', 1, 0, 1, 1, 1, 900000),
           (now() - interval '40 days', 'long ago', 1, 1, 1, 1, 1, 1)""",
    )
    change(
        engine,
        """insert into airflow_run_times (dag_id, hour, what, size, runs) select dag_id, hour, what, size, t.runs
           from airflow_runs join (values ('a', 'queued', 4, 3), ('a', 'took', 5, 1), ('a', 'took', 7, 1),
               ('b', 'queued', 0, 1900), ('b', 'queued', 8, 100), ('b', 'took', 11, 1899), ('b', 'took', 24, 101),
               ('x_decision', 'took', 80, 1)) as t (dag_id, what, size, runs) using (dag_id)
           where airflow_runs.runs <> 2""",
    )
    seen = log_in("viewer").text("/health")
    runs = seen[seen.index("How long runs were queued, and took") :]
    assert "long ago" not in runs
    cells = [re.findall(r"<td[^>]*>(?:<a[^>]*>)?([^<]+)", row) for row in re.findall(r"<tr><td>.*</tr>", runs)]
    assert cells[:2] == [
        ["b", "2002", "2", "1.1", "1.1", "3.0", "7.3", "69.8", "90.0"],
        ["a", "3", "0", "2.2", "2.2", "4.0", "2.6", "3.0", "3.0"],
    ]
    assert runs.count("<svg") == 2
    with engine.connect() as connection:
        times = run_times(connection, datetime.now(UTC) - timedelta(weeks=4))
    in_seconds = [(each.queued and round(each.queued, 1), each.took and round(each.took, 1)) for each in times]
    assert in_seconds == [(1.1, 7.3), (2.2, 2.6)], "by day"


def test_all_that_the_page_promises_is_on_it(engine: Engine, log_in: Any) -> None:
    seen = log_in("viewer").text("/health")
    for heading in (
        "DAG files that Airflow cannot read",
        "Service levels met, by week",
        "Errors by step and cause",
        "Share of cases that passed the checks, by day",
        "How long runs were queued, and took",
    ):
        assert f">{heading}</h2>" in seen
    assert 'href="/plugin/data-docs"' in seen
    assert "No run is counted yet" in seen


def _files(visitor: Browser) -> str:
    """The page's part about files."""
    seen = visitor.text("/health")
    return seen[seen.index("DAG files that Airflow cannot read") : seen.index("Service levels met, by week")]
