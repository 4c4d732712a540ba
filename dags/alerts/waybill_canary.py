"""Lets a task fail on purpose every day, and sees that the message about it reaches the chat.

The failure takes the way of every other: Airflow's callback, the alert, the ledger, `waybill_alerts`, the chat. When
the message has not arrived after 20 minutes, an alarm goes by mail. The run is green all the same: its first task is
red because it should be.

This DAG also carries the watchdog, a trigger that looks for trouble every minute and tells it, from the triggerer and
so also when no task runs; when tasks stood still and run again, the canary is sent at once. **Do not pause it.**

**When a run fails**: read `docs/alerts.md`. Trigger it again; the alarm is taken back when a test arrives.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import Asset, AssetOrTimeSchedule, AssetWatcher, CronTriggerTimetable, task
from airflow.sdk.exceptions import AirflowFailException

from waybill.dags import workflow_dag
from waybill.notifiers import on_canary_failure
from waybill.watching import WatchdogTrigger

run_again = Asset("tasks_run_again", watchers=[AssetWatcher(name="watchdog", trigger=WatchdogTrigger())])

with workflow_dag(
    "waybill_canary",
    "alerts",
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 7 * * *", timezone="UTC"), assets=[run_again]),
    purpose=__doc__,
    deadline_after=timedelta(hours=1),  # it waits for its message, which is no looking for trouble
    heals_by_run=False,  # its conclusion says so
):

    @task(on_failure_callback=on_canary_failure)
    def fail_on_purpose() -> None:
        """Fail, as a task of any workflow might."""
        raise AirflowFailException("This failure is the daily test of the alerts.")

    @task.sensor(trigger_rule="all_done", mode="reschedule", poke_interval=20, timeout=20 * 60, soft_fail=True)
    def see_it_arrive(run: str) -> bool:
        """Wait until the chat has the message; give up quietly, for the next task says what it means."""
        from waybill.alert_delivery import canary_arrived  # noqa: PLC0415 - parsed often, run once a day

        return canary_arrived(run)

    @task(trigger_rule="all_done")
    def conclude(run: str) -> dict[str, bool]:
        """Take the message back, or raise the alarm by the second route."""
        from waybill.alert_delivery import canary_concluded  # noqa: PLC0415

        return canary_concluded(run)

    fail_on_purpose() >> see_it_arrive("{{ run_id }}") >> conclude("{{ run_id }}")
