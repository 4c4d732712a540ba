"""The canary: a known failure goes the way of every other each day, and its arrival is looked for.

The failure itself is a task of the DAG `waybill_canary`; here is what happens to the message about it.
"""

from __future__ import annotations

from sqlalchemy import text

from include.environment import current
from include.integrations.systems import Mode
from include.monitoring.alerts.messages import Kind
from include.monitoring.alerts.raising import Alerts, Trouble
from include.monitoring.watching import signs
from include.monitoring.watching.watch import CANARY_DAG as DAG_ID

WORKFLOW = "alerts"


def send(alerts: Alerts, trouble: Trouble) -> None:
    """Tell the failure that was made on purpose, with a message of its own even if yesterday's is still open."""
    alerts.recover(resolution="the next one was sent", kinds=(Kind.CANARY,))
    alerts.raise_alert(trouble)


def arrived(alerts: Alerts, run_id: str) -> bool:
    """Tell whether the chat has taken the message of a run of the canary; of a production, not only captured it."""
    with alerts.engine.connect() as connection:
        return bool(
            connection.execute(
                text("""
                    select exists (
                        select from alert_occurrences o join alerts a on a.id = o.alert_id
                        join effects post on post.key = a.workflow || '/alert/' || a.id || '/' || a.message
                                                        || '/post_message'
                        where o.run_id = :run and a.kind = :canary and post.state = 'sent'
                              and (post.mode = :live or not :production))"""),
                {
                    "run": f"{DAG_ID}/{run_id}",
                    "canary": Kind.CANARY,
                    "live": Mode.LIVE,
                    "production": current().name == "production",
                },
            ).scalar_one()
        )


def conclude(alerts: Alerts, run_id: str) -> bool:
    """Take the message back when it has arrived, and raise the alarm when it has not; return which it was.

    The alarm goes by mail at once, for the chat is what is in doubt.
    """
    if not arrived(alerts, run_id):
        with alerts.engine.connect() as connection:
            last = signs.last(connection, signs.CANARY)
        facts = {"dag_id": DAG_ID, "run_id": run_id, "last": last.isoformat() if last else ""}
        alerts.raise_alert(
            Trouble(Kind.CANARY_MISSING, WORKFLOW, f"{DAG_ID}/{run_id}", dag_id=DAG_ID, run_id=run_id, facts=facts)
        )
        return False
    with alerts.engine.begin() as connection:
        signs.seen(connection, [signs.CANARY], {"run_id": run_id})
    alerts.recover(resolution="it arrived", kinds=(Kind.CANARY, Kind.CANARY_MISSING))
    alerts.recover(
        resolution="it works again", kinds=(Kind.TASK_FAILED, Kind.RUN_FAILED, Kind.DEADLINE_MISSED), dag_id=DAG_ID
    )
    return True
