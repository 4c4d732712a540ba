"""Looks after what waits for a decision, once a minute.

Sends messages that a chat or a mail server did not take, and wakes the run of a round that was left behind when a
process died between recording an answer and telling Airflow. When a run fails nothing is lost: the next one looks
again at what is there.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import task

from waybill.dags import workflow_dag

with workflow_dag(
    "waybill_approvals",
    "approvals",
    schedule=timedelta(minutes=1),
    purpose=__doc__,
    deadline_after=timedelta(minutes=10),
    heals_by_run=False,  # each task says so itself: a callback of each minute's run costs more than the run
):

    @task
    def send_messages() -> dict[str, int]:
        """Deliver the approvals' messages that are due."""
        from waybill import approvals  # noqa: PLC0415 - parsed often, run once a minute
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
