"""Release, correct or discard leads that are set aside.

Trigger it in Airflow with a choice of leads: by case id, by reason, by when they arrived. The first run is a dry run
that only shows what would be chosen; trigger it again with *dry run* off. A released lead goes through all steps
again; what was already sent for it is not sent again. A discarded lead is closed with your reason.

It can be triggered as often as you like: a lead that is not in quarantine any more is left alone.
"""

from __future__ import annotations

from waybill.forms import quarantine_dag

quarantine_dag(
    "lead_replay",
    "lead_to_client",
    purpose=__doc__,
    reasons=["phone.invalid", "error", "email.invalid", "effect.crm"],
    correction='{"email": "anna@example.com"}',
)
