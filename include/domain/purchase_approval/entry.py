"""A purchase request as a person types it into a form."""

from __future__ import annotations

from include.approvals.forms import Form

FORM = Form(
    source="purchase-form",
    line=("item", "description", "quantity", "unit", "unit_price", "tax_rate", "account"),
    preset=frozenset({"unit", "tax_rate"}),
    fields=(
        *("department", "cost_centre", "category", "supplier", "supplier_name", "supplier_email", "supplier_country"),
        *("currency", "total", "needed_by", "justification", "attachments", "risk"),
    ),
    empty="there is nothing to buy: fill in what, how many and the price",
)
