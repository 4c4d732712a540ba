"""What the DAG `waybill_alerts` does: look, deliver to the chat, deliver by mail what the chat does not take.

The chat and the mail are chosen by their connections; the rules are in `include.monitoring`.
"""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Engine

from include.data.database import engine
from include.integrations import ledger
from include.integrations.systems import Provider
from include.monitoring.alerts import STEP, Alerts
from include.monitoring.look import look
from include.monitoring.messages import Kind
from waybill.systems import provider

WORKFLOW = "alerts"
"""The contract under which the alerts themselves run."""


def look_and_publish(alerts: Alerts | None = None) -> dict[str, int]:
    """Raise, resolve, and write what is new to the ledger; returns counts."""
    alerts = alerts or Alerts(engine())
    looked = look(alerts)
    _works(alerts, "look_for_trouble")
    return {**asdict(looked), "written": alerts.publish()}


def tell_by_chat(target: Engine | None = None, chat: Provider | None = None) -> dict[str, int]:
    """Deliver the alerts that are due; returns counts. Messages that the chat did not take do not fail the task."""
    target = target or engine()
    delivered = _deliver(target, chat or provider("chat"), "chat")
    _works(Alerts(target), "tell_by_chat")
    return delivered


def tell_by_mail(target: Engine | None = None, mail: Provider | None = None) -> dict[str, int]:
    """Write the mails of the second route and deliver those that are due; returns counts."""
    target = target or engine()
    alerts = Alerts(target)
    written = alerts.second_route()
    delivered = _deliver(target, mail or provider("mail"), "mail")
    _works(alerts, "tell_by_mail")
    return {"written": written, **delivered}


def _works(alerts: Alerts, step: str) -> None:
    """The alerts have no cases that would show when they heal, so each task says so itself."""
    alerts.recover(resolution="it works again", kinds=(Kind.TASK_FAILED,), workflow=WORKFLOW, step=step)
    if step == "tell_by_mail" and not alerts.is_open(Kind.TASK_FAILED, WORKFLOW):
        alerts.recover(resolution="it works again", kinds=(Kind.RUN_FAILED, Kind.DEADLINE_MISSED), workflow=WORKFLOW)


def _deliver(target: Engine, through: Provider, system: str) -> dict[str, int]:
    return asdict(ledger.deliver(target, through, system=system, scope=ledger.Scope(step=STEP)))
