"""Release, correct or discard purchase requests that are set aside.

Trigger it in Airflow with a choice of requests: by case id, by reason, by when they arrived. The first run is a dry
run that only shows what would be chosen; trigger it again with *dry run* off. A released request goes through all
steps again; what was already sent for it is not sent again. A discarded request is closed with your reason.

It can be triggered as often as you like: a request that is not in quarantine any more is left alone.
"""

from __future__ import annotations

from waybill.forms import quarantine_dag

quarantine_dag(
    "purchase_replay",
    "purchase_approval",
    purpose=__doc__,
    reasons=["line.quantity", "error", "rate.missing", "budget.missing", "effect.erp"],
    correction='{"cost_centre": "4100"}',
)
