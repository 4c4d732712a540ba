"""Airflow's callbacks: what Airflow notices goes to the alerts.

A callback never raises, for Airflow would not try it again; what fails here is logged and counted in `alert_problems`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from airflow.sdk.definitions.callback import AsyncCallback, SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert

from include.contracts.registry import contract
from include.data.database import engine
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble, describe, explain, workflow_of
from include.monitoring.watching import canary
from include.monitoring.watching.runs import UNTOLD
from waybill.deadlines import RunMade

log = logging.getLogger(__name__)

HEALED_BY_A_RUN = (Kind.TASK_FAILED, Kind.RUN_FAILED, Kind.DEADLINE_MISSED)


def on_task_failure(context: Mapping[str, Any]) -> None:
    """Raise an alert for a task that failed for good; for `on_failure_callback` of tasks."""
    _guarded("on_task_failure", context, lambda alerts: alerts.raise_alert(task_failed(context)))


def on_run_failure(context: Mapping[str, Any]) -> None:
    """Raise an alert for a run that failed, unless it is told already; for `on_failure_callback` of DAGs.

    One of its tasks may have told it, or the look, when this callback comes late.
    """

    def tell(alerts: Alerts) -> None:
        trouble = run_failed(context)
        if alerts.reported(Kind.RUN_FAILED, trouble, cause=UNTOLD):
            return
        if trouble.cause == "task_failure" and alerts.reported(Kind.TASK_FAILED, trouble):
            return
        alerts.raise_alert(trouble)

    _guarded("on_run_failure", context, tell)


def on_run_success(context: Mapping[str, Any]) -> None:
    """Resolve what earlier runs of this DAG were blamed for; for `on_success_callback` of DAGs without cases."""
    _guarded(
        "on_run_success",
        context,
        lambda alerts: alerts.recover(
            resolution="a later run succeeded", kinds=HEALED_BY_A_RUN, dag_id=context["dag"].dag_id
        ),
    )


def on_canary_failure(context: Mapping[str, Any]) -> None:
    """Tell the failure that was made on purpose as what it is; for the task of the canary only."""
    _guarded(
        "on_canary_failure",
        context,
        lambda alerts: canary.send(alerts, replace(task_failed(context), kind=Kind.CANARY, step=None, cause="")),
    )


def deadline_missed(workflow: str, context: Mapping[str, Any] | None = None) -> None:
    """Raise an alert for a run that is not finished by its deadline, worded by the state that the run is in."""
    _guarded("deadline_missed", context or {}, lambda alerts: _tell_deadline(alerts, workflow, context or {}))


async def deadline_missed_async(workflow: str, context: Mapping[str, Any] | None = None) -> None:
    """Do the same in the triggerer."""
    await asyncio.to_thread(deadline_missed, workflow, context)


def deadline(workflow: str, after: timedelta) -> list[DeadlineAlert]:
    """Return the deadline of a DAG: `after` from the moment when the run was made.

    Two callbacks tell the same thing, and count once: one in the triggerer, since a worker may be what is missing,
    and one on a worker, since the triggerer may be what is missing.
    """
    kwargs = {"workflow": workflow}
    return [
        DeadlineAlert(reference=RunMade(), interval=after, callback=callback, name=f"{workflow} {where}")
        for where, callback in (
            ("in the triggerer", AsyncCallback(deadline_missed_async, kwargs=kwargs)),
            ("on a worker", SyncCallback(deadline_missed, kwargs=kwargs)),
        )
    ]


DEFAULT_CALLBACKS: dict[str, Callable[[Mapping[str, Any]], None]] = {"on_failure_callback": on_task_failure}
"""For `default_args`: every task tells when it fails for good."""
DAG_CALLBACKS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "on_failure_callback": on_run_failure,
    "on_success_callback": on_run_success,
}
"""For a DAG without cases; a workflow's DAG needs only `on_run_failure`, its cases show when it heals."""


def task_failed(context: Mapping[str, Any]) -> Trouble:
    """Return what a task's failure context says; `exception` and `dag_run` are absent when the worker was killed."""
    ti = context.get("ti") or context["task_instance"]
    dag_id, run_id, task_id = str(ti.dag_id), str(ti.run_id), str(ti.task_id)
    try_number = int(getattr(ti, "try_number", 0) or 0)
    map_index = int(ti.map_index if getattr(ti, "map_index", None) is not None else -1)
    cause, where = describe(context.get("exception"))
    workflow = workflow_of(dag_id)
    return Trouble(
        Kind.TASK_FAILED,
        workflow,
        occurrence=f"{dag_id}/{run_id}/{task_id}/{map_index}/{try_number}",
        step=_step_of(workflow, task_id),
        cause=cause,
        dag_id=dag_id,
        run_id=run_id,
        facts={
            "dag_id": dag_id,
            "run_id": run_id,
            "task_id": task_id,
            "map_index": map_index,
            "try_number": try_number,
            "where": where,
            **explain(context.get("exception")),
        },
    )


def run_failed(context: Mapping[str, Any]) -> Trouble:
    """Return what a run's failure context says; it may hold no more than `dag`, `run_id` and `reason`."""
    dag_id, run_id = str(context["dag"].dag_id), str(context["run_id"])
    return Trouble(
        Kind.RUN_FAILED,
        workflow_of(dag_id),
        occurrence=f"{dag_id}/{run_id}",
        cause=str(context.get("reason") or ""),
        dag_id=dag_id,
        run_id=run_id,
        facts={"dag_id": dag_id, "run_id": run_id},
    )


def deadline_of(workflow: str, context: Mapping[str, Any]) -> Trouble:
    """Return what a deadline's context says: the run as Airflow's API shows it (its id is `dag_run_id`), and when."""
    run = context["dag_run"]
    dag_id, run_id, state = str(run["dag_id"]), str(run["dag_run_id"]), str(run["state"])
    return Trouble(
        Kind.DEADLINE_MISSED,
        workflow,
        occurrence=f"{dag_id}/{run_id}",
        cause=state,
        dag_id=dag_id,
        run_id=run_id,
        facts={
            "dag_id": dag_id,
            "run_id": run_id,
            "deadline": str(context.get("deadline", {}).get("deadline_time", "")),
        },
    )


def _tell_deadline(alerts: Alerts, workflow: str, context: Mapping[str, Any]) -> None:
    trouble = deadline_of(workflow, context)
    if alerts.reported(Kind.DEADLINE_MISSED, trouble):
        return
    raised = alerts.raise_alert(trouble)
    if trouble.cause == "success":
        alerts.recover(resolution="the run is finished", kinds=(Kind.DEADLINE_MISSED,), ids=[raised.alert_id])


def _step_of(workflow: str, task_id: str) -> str:
    """The contract's step that a task belongs to; a task inside a group belongs to the group's step."""
    top = task_id.split(".", 1)[0]
    try:
        return top if top in contract(workflow).step_ids else task_id
    except KeyError:
        return task_id


def _guarded(part: str, context: Mapping[str, Any], action: Callable[[Alerts], object]) -> None:
    try:
        alerts = Alerts(engine())
    except Exception as error:
        log.error("%s: no alert could be raised, the database is not to be had: %s", part, type(error).__name__)
        return
    try:
        action(alerts)
    except Exception as error:
        alerts.problem(part, error, {"run_id": _run_id(context)})


def _run_id(context: Mapping[str, Any]) -> str:
    run = context.get("dag_run")
    found = context.get("run_id") or (run.get("dag_run_id") if isinstance(run, Mapping) else None)
    return str(found or "")
