"""Release, correct, accept or discard invoices that are set aside.

Trigger it in Airflow with a choice of invoices: by case id, by reason, by when they arrived. The first run is a dry
run that only shows what would be chosen; trigger it again with *dry run* off. A released invoice goes through all
steps again and is booked once. With the correction `accept_difference` and why, you accept that price, quantity or a
line differs from the order: your name stays in the invoice's timeline. Correcting anything else afterwards ends the
acceptance. What is over the order's limits cannot be accepted. A discarded invoice is closed with your reason; its
number is free again, and what it had counted on its order is taken back.
"""

from __future__ import annotations

from waybill.forms import quarantine_dag

quarantine_dag(
    "invoice_resolve",
    "supplier_invoice",
    purpose=__doc__,
    reasons=["match.price", "match", "order.missing", "invoice.duplicate", "effect.erp"],
    correction='{"accept_difference": "freight was agreed"}',
)
