"""The orders that were committed, as the steps behind `commit` read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, text

from include.domain.purchase_approval.content import number
from include.stock.warehouse import warehouse

_ORDERS = """
    select o.case_id, o.number, r.number as request, o.supplier, o.supplier_name, o.supplier_email,
           r.supplier_country, r.supplier_state, r.supplier_record, o.currency, o.net, o.tax,
           (o.ordered_at at time zone :zone)::date as day, r.needed_by, o.cost_centre, o.category, o.requester, o.state
    from purchase_orders o join purchase_requests r on r.case_id = o.case_id
    where o.case_id = any(:ids) and o.state <> 'cancelled' order by o.case_id"""
_LINES = """
    select order_id, line, item, description, quantity, unit, unit_price, tax_rate, account
    from purchase_order_lines where order_id = any(:ids) order by order_id, line"""


@dataclass(frozen=True)
class Order:
    """One order and its lines, as columns of their tables."""

    head: Mapping[str, Any]
    lines: Sequence[Mapping[str, Any]]


def orders(connection: Connection, case_ids: Sequence[int]) -> list[Order]:
    """Return the orders of cases, in order of arrival; one that was cancelled is nobody's to hear of any more."""
    values = {"ids": list(case_ids), "zone": warehouse().zone_name}
    lines: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for line in connection.execute(text(_LINES), values).mappings():
        lines[line["order_id"]].append(dict(line))
    heads = connection.execute(text(_ORDERS), values).mappings()
    return [Order(dict(head), lines[head["case_id"]]) for head in heads]


def as_text(value: Decimal) -> str:
    """A number as the ERP's payloads have it: digits and a point."""
    return number(value)
