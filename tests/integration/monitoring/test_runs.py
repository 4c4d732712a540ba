"""Airflow's runs are counted by hour, each once, however many there are and whoever dies meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble
from include.monitoring.service_levels import of_runs
from include.monitoring.views.health import run_figures
from include.monitoring.watching import runs
from include.monitoring.watching.airflow import Account
from tests.standins.airflow import Airflow, airflow_standin
from tests.support.work import change, rows

NOON = (datetime.now(UTC) - timedelta(days=1)).replace(minute=0, second=0, microsecond=0)


@pytest.fixture
def airflow() -> Iterator[Airflow]:
    with airflow_standin() as standin:
        yield standin


def run(
    dag_id: str,
    minute: float,
    *,
    run_id: str = "run",
    state: str = "success",
    queued: float = 2,
    took: float | None = 5,
) -> Any:
    ended = NOON + timedelta(minutes=minute)
    started = None if took is None else ended - timedelta(seconds=took)
    made = (started or ended) - timedelta(seconds=queued)
    moments = {"queued_at": made, "start_date": started, "end_date": ended}
    return {
        "dag_id": dag_id,
        "dag_run_id": run_id,
        "state": state,
        **{name: at and at.isoformat() for name, at in moments.items()},
    }


def keep_up(engine: Engine, account: Account) -> int:
    return runs.keep_up(Alerts(engine), account, also=of_runs.count)


def counted(engine: Engine) -> list[dict[str, Any]]:
    return rows(engine, "select * from airflow_runs order by hour, dag_id")


def later(engine: Engine) -> None:
    change(engine, "update life_signs set at = at - interval '6 minutes'")


def test_runs_are_counted_by_hour_and_dag(engine: Engine, airflow: Airflow) -> None:
    airflow.ended = [
        run("a", 1),
        run("a", 2, state="failed", queued=4, took=9),
        run("a", 3, took=None),
        run("a", 61),
        run("b", 1),
    ]
    assert keep_up(engine, airflow.account) == 5
    first = counted(engine)[0]
    assert first == {
        "hour": NOON, "dag_id": "a", "runs": 3, "failed": 1, "queued": 2, "longest_queued": 4, "started": 2,
        "longest_took": 9,
    }  # fmt: skip
    assert [(row["dag_id"], row["runs"]) for row in counted(engine)] == [("a", 3), ("b", 1), ("a", 1)]


def test_medians_and_what_95_of_100_stayed_within_are_right_to_within_9_percent(
    engine: Engine, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two looks count them, so that the second adds to what the first has kept."""
    monkeypatch.setattr(runs, "MOST_PAGES", 1)
    took = [0.01 * 1.11**n for n in range(151)]  # up to 18 hours
    airflow.ended = [run("a", n / 60, queued=seconds / 100, took=seconds) for n, seconds in enumerate(took)]
    for found in (100, 51):
        assert keep_up(engine, airflow.account) == found
        later(engine)
    with engine.connect() as connection:
        [told] = run_figures(connection, NOON)
    assert (told.took, told.took_p95, told.longest) == (
        pytest.approx(took[75], rel=0.0906),
        pytest.approx(took[143], rel=0.0906),
        pytest.approx(took[150]),
    )
    assert told.queued == pytest.approx(took[75] / 100, rel=0.0906)


def test_each_run_counts_once_and_looks_are_minutes_apart(engine: Engine, airflow: Airflow) -> None:
    airflow.ended = [run("a", 1)]
    assert keep_up(engine, airflow.account) == 1
    now = run("a", 0)
    now["end_date"] = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    airflow.ended.append(now)
    assert keep_up(engine, airflow.account) == 0, "it is too early to look"
    later(engine)
    assert keep_up(engine, airflow.account) == 0, "one that has just ended is left to the next look"
    later(engine)
    now["end_date"] = (datetime.now(UTC) - timedelta(seconds=31)).isoformat()
    change(engine, "update life_signs set detail = jsonb_build_object('until', now() - interval '40 seconds')")
    assert keep_up(engine, airflow.account) == 1
    assert sum(row["runs"] for row in counted(engine)) == 2


def test_the_first_runs_of_all_are_counted_as_soon_as_they_have_ended(engine: Engine, airflow: Airflow) -> None:
    assert keep_up(engine, airflow.account) == 0
    airflow.ended = [run("a", 1)]
    assert keep_up(engine, airflow.account) == 1, "though the look before was a moment ago"


def test_more_than_one_look_takes_are_counted_by_the_next(
    engine: Engine, airflow: Airflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "MOST_PAGES", 2)
    airflow.ended = [run("a", number / 60) for number in range(350)]
    found = []
    for _ in range(3):
        found.append(keep_up(engine, airflow.account))
        later(engine)
    assert found == [200, 150, 0]
    assert sum(row["runs"] for row in counted(engine)) == 350


def test_without_an_account_or_an_airflow_nothing_is_counted_and_nothing_is_forgotten(
    engine: Engine, airflow: Airflow
) -> None:
    airflow.ended = [run("a", 1)]
    away = Account("http://127.0.0.1:9", "watcher", airflow.account.password)
    assert keep_up(engine, Account(airflow.url)) == keep_up(engine, away) == 0
    assert keep_up(engine, airflow.account) == 1


def test_runs_without_cases_keep_or_break_what_their_contract_promises(engine: Engine, airflow: Airflow) -> None:
    two_hours = 7200
    airflow.ended = [
        run("reports_daily", 1, queued=60, took=two_hours - 60),
        run("reports_daily", 2, queued=61, took=two_hours - 60),
        run("reports_weekly", 3, state="failed"),
        run("waybill_alerts", 4, took=None),
        run("lead_to_client", 5, took=two_hours),
    ]
    assert keep_up(engine, airflow.account) == 5
    later(engine)
    assert keep_up(engine, airflow.account) == 0
    monday = NOON.date() - timedelta(days=NOON.weekday())
    assert rows(engine, "select * from service_level_weeks order by workflow") == [
        {"workflow": "alerts", "step": None, "week": monday, "met": 1, "missed": 0},
        {"workflow": "reports", "step": None, "week": monday, "met": 1, "missed": 2},
    ]


def told(engine: Engine) -> list[dict[str, Any]]:
    return rows(engine, "select kind, workflow, cause, count from alerts order by id")


def test_a_run_whose_failure_nobody_told_is_told_once(engine: Engine, airflow: Airflow) -> None:
    airflow.ended = [
        run("lead_to_client", 1, run_id="lost", state="failed"),
        run("lead_to_client", 2, run_id="fine"),
    ]
    for _ in range(2):
        keep_up(engine, airflow.account)
        later(engine)
    expected = {"kind": "run_failed", "workflow": "lead_to_client", "cause": "untold", "count": 1}
    assert told(engine) == [expected]
    (message,) = rows(engine, "select payload->>'text' as text from effects")
    assert "The run lost of lead_to_client failed: Airflow did not say why, so its callback was lost" in message["text"]
    airflow.ended.append(run("lead_to_client", 3, run_id="lost too", state="failed"))
    change(engine, "update life_signs set detail = jsonb_build_object('until', now() - interval '2 days')")
    keep_up(engine, airflow.account)
    assert told(engine) == [{**expected, "count": 2}]


@pytest.mark.parametrize("kind", [Kind.TASK_FAILED, Kind.RUN_FAILED, Kind.CANARY])
def test_a_run_whose_failure_is_told_is_not_told_again(engine: Engine, airflow: Airflow, kind: Kind) -> None:
    Alerts(engine).raise_alert(Trouble(kind, "lead_to_client", "x", dag_id="lead_to_client", run_id="run"))
    airflow.ended = [run("lead_to_client", 1, state="failed")]
    assert keep_up(engine, airflow.account) == 1
    assert [alert["kind"] for alert in told(engine)] == [kind]


def test_a_late_deadline_does_not_stand_for_a_failure(engine: Engine, airflow: Airflow) -> None:
    Alerts(engine).raise_alert(
        Trouble(Kind.DEADLINE_MISSED, "lead_to_client", "x", cause="running", dag_id="lead_to_client", run_id="run")
    )
    airflow.ended = [run("lead_to_client", 1, state="failed")]
    keep_up(engine, airflow.account)
    assert [alert["kind"] for alert in told(engine)] == ["deadline_missed", "run_failed"]
