"""Release, correct or discard stock requests that are set aside.

Trigger it in Airflow with a choice of requests: by case id, by reason, by when they arrived. The first run is a dry
run that only shows what would be chosen; trigger it again with *dry run* off. A released request goes through all
steps again; what it had posted stays posted, and is not posted again. A discarded one is closed with your reason, and
keeps no stock reserved.
"""

from __future__ import annotations

from waybill.forms import quarantine_dag

quarantine_dag(
    "stock_resolve",
    "stock_request",
    purpose=__doc__,
    reasons=["stock.short", "item.unknown", "location", "lot.expired", "effect.erp"],
    correction='{"from": "MAIN"}',
)
