"""A stock request as a person types it into a form."""

from __future__ import annotations

from include.approvals.forms import Form

FORM = Form(
    source="stock-form",
    line=("item", "quantity", "unit", "lot", "expires_on", "unit_cost", "note"),
    preset=frozenset({"unit", "note"}),
    fields=("kind", "from", "to", "reason", "reference", "occurred_at"),
    empty="there is nothing to move: fill in item and quantity",
)
