"""The DAGs of the reports: when they run, and that a refused report stops nothing but itself, and is seen."""

from __future__ import annotations

from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import RetryAction

from include.contracts.registry import contract
from include.reporting.catalogue import REPORTS
from include.reporting.going_out import SYSTEMS
from include.stock.warehouse import warehouse
from waybill.operators.reports import ReportRefused, ReportWaits

DAGS = {"reports_daily": "0 5 * * *", "reports_weekly": "0 5 * * 1", "reports_monthly": "0 5 1 * *"}


@pytest.mark.parametrize(("dag_id", "cron"), DAGS.items())
def test_a_run_has_an_interval_by_the_companys_clock_and_past_ones_can_be_backfilled(
    dags: dict[str, Any], dag_id: str, cron: str
) -> None:
    dag = dags[dag_id]
    assert dag.timetable.expression == cron
    assert str(dag.timetable.timezone) == warehouse().zone.key
    assert not dag.catchup
    assert dag.max_active_runs == 1
    assert dag.has_on_success_callback, "a good run shows that trouble is over"


@pytest.mark.parametrize("dag_id", DAGS)
def test_what_was_refused_fails_the_run_and_keeps_nothing_else_from_going_out(
    dags: dict[str, Any], dag_id: str
) -> None:
    dag = dags[dag_id]
    assert set(dag.task_ids) == {*REPORTS, *SYSTEMS, "done"}
    for step in SYSTEMS:
        assert dag.get_task(step).upstream_task_ids == set(REPORTS)
        assert dag.get_task(step).trigger_rule == "all_done"
    assert [task.task_id for task in dag.leaves] == ["done"]
    assert dag.get_task("done").upstream_task_ids == {*REPORTS, *SYSTEMS}
    assert dag.get_task("done").trigger_rule == "none_failed"


@pytest.mark.parametrize(("error", "tried"), [(ReportWaits("x"), 31), (ReportRefused("x"), 5), (ValueError("x"), 5)])
def test_a_report_waits_for_hours_for_what_passes_and_for_nothing_else(
    dags: dict[str, Any], error: Exception, tried: int
) -> None:
    task = dags["reports_daily"].get_task("stock")
    for former in (0, 7):  # tries before somebody cleared it
        most = former + task.retries
        last = next(
            number for number in range(former + 1, 100)
            if number > most or task.retry_policy.evaluate(error, number, most).action is RetryAction.FAIL
        )  # fmt: skip
        assert last == former + tried
    longest = sum(min(3 * 2.0**number, task.max_retry_delay.total_seconds()) for number in range(task.retries))
    assert timedelta(hours=4) < timedelta(seconds=longest) < timedelta(hours=12)


def test_each_task_is_a_step_of_the_contract_with_its_owner(dags: dict[str, Any]) -> None:
    declared = contract("reports")
    assert set(declared.step_ids) == {*REPORTS, *SYSTEMS}
    for name in REPORTS:
        assert dags["reports_daily"].get_task(name).owner == declared.step(name).owner.id


def test_the_reports_to_make_can_be_chosen(dags: dict[str, Any]) -> None:
    params = deepcopy(dags["reports_weekly"].params)
    assert params["reports"] == list(REPORTS)
    params["reports"] = ["stock"]
    with pytest.raises(ValueError, match="Invalid input"):
        params["reports"] = ["nonsense"]


def test_a_preview_is_made_only_when_somebody_asks_for_it(dags: dict[str, Any]) -> None:
    assert {dag_id: dags[dag_id].params["preview"] for dag_id in DAGS} == dict.fromkeys(DAGS, False)
