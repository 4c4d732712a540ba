"""Looks after what waits for a decision, when there is something to do.

Sends messages that a chat or a mail server did not take, and wakes the run of a round that was left behind when a
process died between recording an answer and telling Airflow. Whether there is anything is looked at every 20 seconds,
in the triggerer; the run of every quarter of an hour looks also when the triggerer is dead. When a run fails nothing is
lost: the next one looks again at what is there.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import AssetOrTimeSchedule, DeltaTriggerTimetable, task

from waybill.dags import approval_work, workflow_dag

with workflow_dag(
    "waybill_approvals",
    "approvals",
    schedule=AssetOrTimeSchedule(timetable=DeltaTriggerTimetable(timedelta(minutes=15)), assets=approval_work()),
    purpose=__doc__,
    heals_by_run=False,  # each task says so itself: a callback of every run costs more than the run
):

    @task
    def send_messages() -> dict[str, int]:
        """Deliver the approvals' messages that are due."""
        from waybill import approvals  # noqa: PLC0415 - parsed more often than it runs
        from waybill.alert_delivery import works  # noqa: PLC0415

        sent = approvals.send_messages()
        works("approvals", "send_messages")
        return sent

    @task(trigger_rule="all_done")
    def look_after_rounds() -> dict[str, int]:
        """Wake runs that were left behind."""
        from waybill import approvals  # noqa: PLC0415
        from waybill.alert_delivery import works  # noqa: PLC0415

        looked_after = approvals.look_after()
        works("approvals", "look_after_rounds", last=True)
        return looked_after

    send_messages() >> look_after_rounds()
