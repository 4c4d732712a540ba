"""Release, correct or discard count sheets that are set aside.

Trigger it in Airflow with a choice of sheets: by case id, by reason, by when they were planned. The first run is a dry
run that only shows what would be chosen; trigger it again with *dry run* off. A released sheet goes through all steps
again, to another counter if you correct that. What stands on a discarded one is due again on the next day.
"""

from __future__ import annotations

from waybill.forms import quarantine_dag

quarantine_dag(
    "stock_count_resolve",
    "stock_count",
    purpose=__doc__,
    reasons=["counter.unfit", "item.unknown", "effect.mail"],
    correction='{"counter": "lena.hoffmann"}',
)
