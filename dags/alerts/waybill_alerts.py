"""Looks for trouble from a task, and tells people what is wrong and that it is well again.

The watchdog of `waybill_canary` does the same every minute, in the triggerer, without a task. This DAG runs every five
minutes (`WAYBILL_SILENT_AFTER`) and shows what the watchdog cannot: that tasks run at all. Each of the two notices when
the other is dead. What nobody reported is found (cases set aside, effects given up, systems that do not answer,
backlogs, parts of Airflow that are silent), and what is over; what is new is written to the ledger and delivered to the
chat. What the chat does not take goes by mail, once, and to the chat when it is back. Last, when all of that worked, a
monitor outside hears that Waybill lives.

Trigger it to have it told at once.

**When a run fails**: nothing is lost, for the messages stay in the ledger and the watchdog, or the next run, delivers
them. Read `docs/alerts.md`. Its own failure is an alert too.
"""

from __future__ import annotations

from airflow.sdk import task

from include.monitoring.watching.watch import silent_after
from waybill.dags import workflow_dag

with workflow_dag(
    "waybill_alerts",
    "alerts",
    schedule=silent_after(),
    purpose=__doc__,
    heals_by_run=False,  # each task says so itself: a callback of every run costs more than the run
):

    @task
    def look_for_trouble() -> dict[str, int]:
        """Raise and resolve alerts by what the database shows; word what is new for the ledger."""
        from waybill import alert_delivery  # noqa: PLC0415 - parsed more often than it runs

        looked = alert_delivery.look_and_publish()
        alert_delivery.works("alerts", "look_for_trouble")
        return looked

    @task(trigger_rule="all_done")
    def tell_by_chat() -> dict[str, int]:
        """Deliver what is due to the chat."""
        from waybill import alert_delivery  # noqa: PLC0415

        told = alert_delivery.tell_by_chat()
        alert_delivery.works("alerts", "tell_by_chat")
        return told

    @task(trigger_rule="all_done")
    def tell_by_mail() -> dict[str, int]:
        """Take the second route for what the chat does not take."""
        from waybill import alert_delivery  # noqa: PLC0415

        told = alert_delivery.tell_by_mail()
        alert_delivery.works("alerts", "tell_by_mail", last=True)
        return told

    @task
    def tell_outside() -> dict[str, str]:
        """Give the sign that all this works, to the watchdog and to the monitor outside, which alarm without it."""
        from waybill import alert_delivery  # noqa: PLC0415

        told = alert_delivery.tell_outside()
        alert_delivery.works("alerts", "tell_outside")
        return told

    looked, told, mailed = look_for_trouble(), tell_by_chat(), tell_by_mail()
    looked >> told >> mailed >> tell_outside() << [looked, told]
