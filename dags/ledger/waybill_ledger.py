"""Sends what is due and no case carries along.

An effect of a case's own step goes out with the case. The others (reports, erasures, cancelled orders, merged contacts)
are sent by whoever wrote them; this DAG sends what is left: what a system did not take, what somebody retries on the
page of effects, and what was to wait for a while. It runs when there is something due, and not by the clock.

**When a run fails**: nothing is lost, and nothing goes out twice. The message names the system that cannot be called:
look at its connection in Airflow; the next run sends the rest.
"""

from __future__ import annotations

from waybill.dags import effects_due, workflow_dag
from waybill.operators.effects import DeliverDueEffectsOperator

with workflow_dag(
    "waybill_ledger",
    "ledger",
    schedule=effects_due(),
    purpose=__doc__,
    heals_by_run=True,
):
    DeliverDueEffectsOperator(task_id="send_effects")
