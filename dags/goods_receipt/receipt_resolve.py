"""Release, correct or discard goods receipts that are set aside.

Trigger it in Airflow with a choice of receipts: by case id, by reason, by when they arrived. The first run is a dry
run that only shows what would be chosen; trigger it again with *dry run* off. A released receipt goes through all
steps again and counts once. A discarded one is closed with your reason; what it had counted on its order is taken
back.
"""

from __future__ import annotations

from waybill.forms import quarantine_dag

quarantine_dag(
    "receipt_resolve",
    "goods_receipt",
    purpose=__doc__,
    reasons=["receipt.over_tolerance", "receipt.wrong_item", "order", "effect.erp"],
    correction='{"order": "PO-2026-000001"}',
)
