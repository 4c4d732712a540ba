"""Ask those who must approve a stock request: one run for each round of it.

Each stage is a task that waits for people without a worker; answer it under Airflow's **Required actions**, in Slack,
or by the API. Reminders, escalation and expiry happen by themselves. Only Waybill's own record of decisions counts:
marking a task as a success approves nothing, and clearing it asks again.

A request whose content changes is asked again in a new round, and so in a new run; the old one ends.
"""

from __future__ import annotations

from waybill.dags import decision_dag

WORKFLOW = "stock_request"

decision_dag("stock_decision", WORKFLOW, purpose=__doc__)
