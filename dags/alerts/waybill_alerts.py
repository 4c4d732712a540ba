"""Tells people what is wrong, and that it is well again.

Every minute: looks for trouble that no callback reports (cases set aside, effects given up, systems that do not
answer, backlogs, parts of Airflow that are silent) and for trouble that is over, writes what is new to the ledger, and
delivers it to the chat. What the chat does not take goes by mail, once, and to the chat when it is back. Last, when all
of that worked, a monitor outside hears that Waybill lives.

**When a run fails**: nothing is lost, for the messages stay in the ledger and the next run delivers them. Read
`docs/alerts.md`. Its own failure is an alert too.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import task

from waybill.dags import workflow_dag

with workflow_dag(
    "waybill_alerts",
    "alerts",
    schedule=timedelta(minutes=1),
    purpose=__doc__,
    deadline_after=timedelta(minutes=10),
    heals_by_run=False,  # each task says so itself: a callback of each minute's run costs more than the run
):

    @task
    def look_for_trouble() -> dict[str, int]:
        """Raise and resolve alerts by what the database shows; word what is new for the ledger."""
        from waybill.alert_delivery import look_and_publish  # noqa: PLC0415 - parsed often, run once a minute

        return look_and_publish()

    @task(trigger_rule="all_done")
    def tell_by_chat() -> dict[str, int]:
        """Deliver what is due to the chat."""
        from waybill.alert_delivery import tell_by_chat as deliver  # noqa: PLC0415

        return deliver()

    @task(trigger_rule="all_done")
    def tell_by_mail() -> dict[str, int]:
        """Take the second route for what the chat does not take."""
        from waybill.alert_delivery import tell_by_mail as deliver  # noqa: PLC0415

        return deliver()

    @task
    def tell_outside() -> dict[str, str]:
        """Tell the monitor outside that all this works; it alarms when it hears nothing."""
        from waybill.alert_delivery import tell_outside as tell  # noqa: PLC0415

        return tell()

    looked, told, mailed = look_for_trouble(), tell_by_chat(), tell_by_mail()
    looked >> told >> mailed >> tell_outside() << [looked, told]
