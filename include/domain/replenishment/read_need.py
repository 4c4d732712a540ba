"""The step `read_need`: by which terms a need is asked for, as its rule says them now.

A need whose rule cannot be carried out is set aside. Mend the rule and release it, or correct single terms of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import text

from include.cases.model import Reason, StepResult, Work
from include.domain.replenishment.formulas import order_quantity
from include.domain.replenishment.rules import COLUMNS, PURCHASE_DECIMALS, Rule, read_rule, unfit
from include.intake.received import received
from include.stock.items import Item, load_items

FIXED = ("item", "location", "method")
"""Terms that no correction changes: they are what the need is."""

_NEEDS = f"""
    select n.case_id, n.item as of_item, n.location as of_location, (n.figures->>'quantity')::numeric as wanted,
           {", ".join(f"r.{name}" for name in COLUMNS)}
    from replenishment_needs n left join replenishment_rules r using (item, location)
    where n.case_id = any(:ids) order by n.case_id"""


def read_need(work: Work) -> StepResult:
    """Write the terms of each need; one that nothing can be asked by is set aside with all reasons."""
    result = StepResult()
    corrections = {delivery.case_id: delivery.corrections for delivery in received(work)}
    rows = [dict(row) for row in work.connection.execute(text(_NEEDS), work.values).mappings()]
    items = load_items(work.connection, {row["of_item"] for row in rows})
    written = []
    for row in rows:
        found = _terms(row, corrections.get(row["case_id"], {}), items.get(row["of_item"]))
        if isinstance(found, list):
            result.quarantine[row["case_id"]] = found
        else:
            written.append({"case_id": row["case_id"], **found})
    work.connection.execute(
        text("""
            update replenishment_needs n
            set quantity = v.quantity, terms = v.terms, from_location = v.terms->>'from_location'
            from jsonb_to_recordset(:rows) as v(case_id bigint, quantity numeric, terms jsonb)
            where n.case_id = v.case_id"""),
        {"rows": Jsonb(written)},
    )
    return result


def _terms(row: Mapping[str, Any], corrected: Mapping[str, Any], item: Item | None) -> dict[str, Any] | list[Reason]:
    if row["item"] is None or row["method"] == "off":
        message = "The place has no rule any more, or it is off. Enter a rule and release the need, or discard it."
        return [Reason("rule.missing", message)]
    known = {name: value for name, value in corrected.items() if name in COLUMNS and name not in FIXED}
    if known.get("supplier") and "from_location" not in known:
        known["from_location"] = None
    if known.get("from_location") and "supplier" not in known:
        known["supplier"] = None
    rule = read_rule({**{name: row[name] for name in COLUMNS}, **known})
    if isinstance(rule, list):
        return [Reason("rule.unreadable", f"What was corrected does not fit: {fault}.") for fault in rule]
    reasons = unfit(rule, item)
    quantity = _quantity(corrected.get("quantity", row["wanted"]), rule, item)
    if quantity is None:
        message = "The quantity must be a number above zero, in base units of the item."
        reasons.append(Reason("need.quantity", message, "quantity"))
    if reasons or item is None:
        return reasons
    terms = rule.model_dump(mode="json") | {"title": item.title, "unit": item.unit}
    return {"quantity": str(quantity), "terms": terms}


def _quantity(value: Any, rule: Rule, item: Item | None) -> Decimal | None:
    """The quantity as it can be ordered: what was planned or corrected, in whole packs."""
    if item is None:
        return None
    try:
        wanted = Decimal(str(value))
    except ArithmeticError:
        return None
    if not wanted.is_finite() or not 0 < wanted < 10**12:
        return None
    decimals = min(item.decimals, PURCHASE_DECIMALS) if rule.by_purchase else item.decimals
    return order_quantity(wanted, least=rule.min_quantity, multiple=rule.multiple, decimals=decimals)
