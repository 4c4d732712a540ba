"""A purchase request as a person types it into a form."""

from __future__ import annotations

from typing import Any

from include.approvals.forms import Form

AMOUNT = r"^\d{1,11}(\.\d{1,4})?$"
"""How a quantity or an amount is written in a form."""
LINE: dict[str, Any] = {
    "type": "object",
    "required": ["quantity", "unit_price"],
    "properties": {
        **{name: {"type": "string"} for name in ("description", "item", "unit", "tax_rate", "account")},
        **{name: {"type": "string", "pattern": AMOUNT} for name in ("quantity", "unit_price")},
    },
    "additionalProperties": False,
}
"""JSON Schema of a line in a form."""

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
