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
):

    @task
    def send_messages() -> dict[str, int]:
        """Deliver the approvals' messages that are due."""
        from waybill import approvals  # noqa: PLC0415 - parsed often, run once a minute

        return approvals.send_messages()

    @task(trigger_rule="all_done")
    def look_after_rounds() -> dict[str, int]:
        """Wake runs that were left behind."""
        from waybill import approvals  # noqa: PLC0415

        return approvals.look_after()

    send_messages() >> look_after_rounds()
