"""Release, correct or discard needs that are set aside.

Trigger it in Airflow with a choice of needs: by case id, by reason, by when they arose. The first run is a dry run that
only shows what would be chosen; trigger it again with *dry run* off. Mend the rule with `replenishment_rules` and
release, or correct single terms for this need alone. A discarded need is not asked again until its rule's review.
"""

from __future__ import annotations

from waybill.forms import quarantine_dag

quarantine_dag(
    "replenishment_resolve",
    "replenishment",
    purpose=__doc__,
    reasons=["rule.supplier", "rule", "item.inactive", "need"],
    correction='{"supplier": "S-100", "quantity": "50"}',
)
