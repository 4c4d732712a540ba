"""What both who look for trouble do: look, deliver to the chat, deliver by mail what the chat does not take.

They are the watchdog and the DAG `waybill_alerts`. In production nothing is delivered to what is built in, for nobody
reads it there: it waits for the connection. The chat and the mail are chosen by their connections; the rules are in
`include.monitoring`.
"""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Engine

from include.data.database import engine
from include.integrations import ledger
from include.integrations.systems import Provider
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import STEP, Alerts
from include.monitoring.service_levels import of_runs
from include.monitoring.service_levels.telling import watch_service_levels
from include.monitoring.watching import canary, outside, runs, signs
from include.monitoring.watching.airflow import Account
from include.monitoring.watching.backlogs import watch_backlogs
from include.monitoring.watching.lasting import Looked
from include.monitoring.watching.look import look
from include.monitoring.watching.watch import watch
from waybill import metrics
from waybill.systems import provider
from waybill.watching import account, lacking


def look_and_publish(
    alerts: Alerts | None = None, airflow: Account | None = None, *, looker: str = signs.LOOK
) -> dict[str, int]:
    """Raise, resolve, and write what is new to the ledger; returns counts.

    A part of it that fails does not stop the others.

    :param looker: who looks, as in `signs`.
    :raises Exception: the first error of them, when all have looked and what they found is written.
    """
    alerts = alerts or Alerts(engine())
    looked, errors = Looked(0, 0), []

    def watch_airflow(alerts: Alerts) -> Looked:
        return watch(alerts, airflow or account(), missing=lacking(), looker=looker)

    for watcher in (look, watch_backlogs, watch_airflow, watch_service_levels):
        try:
            looked += watcher(alerts)
        except Exception as error:
            errors.append(error)
    again = alerts.speak_again() + alerts.remind()
    written = alerts.publish()
    if looker == signs.WATCHDOG:  # two who send make two series of each figure
        _send_metrics(alerts)
    _read_runs(alerts, airflow)
    for further in errors[1:]:
        alerts.problem(looker, further)
    if errors:
        raise errors[0]
    return {"raised": looked.raised, "recovered": looked.recovered, "again": again, "written": written}


def tell_by_chat(target: Engine | None = None, chat: Provider | None = None) -> dict[str, int]:
    """Deliver the alerts that are due; returns counts. Messages that the chat did not take do not fail the task."""
    return _deliver(target or engine(), chat or _provider("chat"), "chat")


def tell_by_mail(target: Engine | None = None, mail: Provider | None = None) -> dict[str, int]:
    """Write the mails of the second route and deliver those that are due; returns counts."""
    target = target or engine()
    written = Alerts(target).second_route()
    return {"written": written, **_deliver(target, mail or _provider("mail"), "mail")}


def tell_outside(target: Engine | None = None) -> dict[str, str]:
    """Give the sign that a task has looked and delivered, and tell the monitor outside that the alerts are well.

    For the end of a run of which all worked. Returns what came of telling it, where there is such a monitor.
    """
    target = target or engine()
    with target.begin() as connection:
        signs.seen(connection, [signs.LOOK])
    return {"outside": outside.tell(target)}


def canary_arrived(run_id: str) -> bool:
    """Tell whether the failure that this run made on purpose has reached the chat."""
    return canary.arrived(Alerts(engine()), run_id)


def canary_concluded(run_id: str) -> dict[str, bool]:
    """Take the test back when it has arrived; else raise the alarm, and send it by mail at once."""
    arrived = canary.conclude(Alerts(engine()), run_id)
    if not arrived:
        tell_by_mail()
    return {"arrived": arrived}


def works(workflow: str, step: str, alerts: Alerts | None = None, *, last: bool = False) -> None:
    """Resolve what a task was blamed for, where no cases show when it heals and a callback of each run would cost much.

    :param last: whether the run is as good as over, so that it is not blamed any more either.
    """
    alerts = alerts or Alerts(engine())
    alerts.recover(resolution="it works again", kinds=(Kind.TASK_FAILED,), workflow=workflow, step=step)
    if last and not alerts.is_open(Kind.TASK_FAILED, workflow):
        alerts.recover(resolution="it works again", kinds=(Kind.RUN_FAILED, Kind.DEADLINE_MISSED), workflow=workflow)


def _send_metrics(alerts: Alerts) -> None:
    """Figures that are not sent are no reason not to look."""
    if metrics.is_on():
        try:
            metrics.send(alerts.engine)
        except Exception as error:
            alerts.problem("metrics", error)


def _read_runs(alerts: Alerts, airflow: Account | None) -> None:
    """Nor are runs that cannot be read."""
    try:
        runs.keep_up(alerts, airflow or account(), also=of_runs.count)
    except Exception as error:
        alerts.problem("runs", error)


def _provider(role: str) -> Provider | None:
    return None if f"waybill_{role}" in lacking() else provider(role)


def _deliver(target: Engine, through: Provider | None, system: str) -> dict[str, int]:
    if through is None:
        return asdict(ledger.Delivered())
    return asdict(ledger.deliver(target, through, system=system, scope=ledger.Scope(step=STEP)))
