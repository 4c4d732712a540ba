"""Release or discard differences between the stock and the ERP that are set aside.

Trigger it in Airflow with a choice of cases: by case id, by reason, by when they were found. The first run is a dry run
that only shows what would be chosen; trigger it again with *dry run* off. A released one is compared again and goes on
from there. A discarded one is closed with your reason; when it still differs, the next comparison opens it again.
"""

from __future__ import annotations

from waybill.forms import quarantine_dag

quarantine_dag(
    "stock_difference_resolve",
    "stock_difference",
    purpose=__doc__,
    reasons=["effect.erp", "lines.invalid", "error"],
    correction='{"found_on": "2026-01-31"}',
)
