"""Reads both sides, and compares them; and the rows in which a case keeps what it was about.

What is done about a difference is for the steps.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import cast

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, text

from include.domain.stock_difference.comparison import Books, Comparison, Line, Spot, compare
from include.integrations.systems import ErpProvider, Provider
from include.stock.warehouse import warehouse

# A case whose movements the ERP was not told yet; and goods of orders, which the ERP has before the stock has them.
_MOVING = text("""
    select m.item from cases c join stock_movements m on m.case_id = c.id
    where c.state not in ('finished', 'rejected') and c.workflow = 'stock_request'
      and not exists (select from effects e where e.case_id = c.id and e.system = 'erp'
                         and e.operation = 'move_stock' and e.state = 'sent')
    union
    select l.item from cases c join deliveries d on d.id = c.delivery_id
         join stock_request_lines l on l.case_id = c.id
    where c.state not in ('finished', 'rejected') and c.workflow = 'stock_request'
      and d.source = any(:theirs_first) and l.item is not null
    union
    select line->>'item' from cases c join deliveries d on d.id = c.delivery_id,
         jsonb_array_elements(convert_from(d.body, 'UTF8')::jsonb->'lines') line
    where c.state not in ('finished', 'rejected') and c.workflow = 'stock_request' and d.source = any(:theirs_first)
    """)
ERP_FIRST = ("goods-receipt", "stock-difference-booking")
"""Sources of stock requests whose movements the ERP has already."""
_BALANCES = text("""
    select item, location, lot, quantity from stock_balances
    where location = any(:locations) and quantity <> 0 order by item, location, lot""")
_ACCEPTED = text("""
    select distinct on (l.item, l.location, l.lot) l.item, l.location, l.lot, l.erp - l.waybill as difference
    from stock_difference_lines l join stock_differences d using (case_id) join cases c on c.id = l.case_id
    where c.state = 'finished' and d.decision = 'accept'
    order by l.item, l.location, l.lot, l.case_id desc""")
_NEW_LINES = text("""
    insert into stock_difference_lines (case_id, item, location, lot, waybill, erp)
    select * from jsonb_to_recordset(:rows)
        as v(case_id bigint, item text, location text, lot text, waybill numeric, erp numeric)""")


def real_locations() -> list[str]:
    """Return the places whose stock is compared."""
    return [code for code, place in warehouse().locations.items() if place.real]


def look(connection: Connection, erp: Provider) -> Comparison:
    """Compare all that is there, with the balances read before and after the ERP's.

    :raises SystemTrouble: when the ERP cannot be read; half of it is never compared.
    """
    before = _books(connection)
    stock = cast(ErpProvider, erp).read("stock", real_locations())
    return compare(before, stock.values(), _books(connection))


def _books(connection: Connection) -> Books:
    there: dict[Spot, dict[str, Decimal]] = defaultdict(dict)
    for row in connection.execute(_BALANCES, {"locations": real_locations()}):
        there[Spot(row.item, row.location)][row.lot] = row.quantity
    moving = frozenset(connection.execute(_MOVING, {"theirs_first": list(ERP_FIRST)}).scalars())
    return Books(there, frozenset(connection.execute(text("select code from stock_items")).scalars()), moving)


def without_accepted(connection: Connection, lines: Mapping[Spot, Sequence[Line]]) -> dict[Spot, list[Line]]:
    """Leave out what somebody accepted, as long as it is as much as they saw."""
    accepted = {(row.item, row.location, row.lot): row.difference for row in connection.execute(_ACCEPTED)}
    left = {
        spot: [line for line in some if accepted.get((*spot, line.lot)) != line.difference]
        for spot, some in lines.items()
    }
    return {spot: some for spot, some in left.items() if some}


def load_lines(connection: Connection, case_ids: Sequence[int]) -> dict[int, list[Line]]:
    """Return what cases are about; one without lines is about nothing any more."""
    found: dict[int, list[Line]] = {case_id: [] for case_id in case_ids}
    rows = connection.execute(
        text("""
            select case_id, item, location, lot, waybill, erp from stock_difference_lines
            where case_id = any(:ids) order by case_id, item, location, lot"""),
        {"ids": list(case_ids)},
    )
    for row in rows:
        found[row.case_id].append(Line(row.item, row.location, row.lot, row.waybill, row.erp))
    return found


def write_lines(connection: Connection, lines: Mapping[int, Iterable[Line]]) -> None:
    """Make these what the cases are about."""
    connection.execute(text("delete from stock_difference_lines where case_id = any(:ids)"), {"ids": list(lines)})
    rows = [
        {
            "case_id": case_id,
            "item": line.item,
            "location": line.location,
            "lot": line.lot,
            "waybill": f"{line.waybill:f}",
            "erp": f"{line.erp:f}",
        }
        for case_id, some in lines.items()
        for line in some
    ]
    if rows:
        connection.execute(_NEW_LINES, {"rows": Jsonb(rows)})


def told(lines: Sequence[Line]) -> dict[str, str | int]:
    """Return what an event says of a case's lines."""
    if len(lines) != 1:
        return {"differences": len(lines)}
    (line,) = lines
    return {
        "item": line.item,
        "location": line.location,
        **({"lot": line.lot} if line.lot else {}),
        "waybill": _n(line.waybill),
        "erp": _n(line.erp),
        "difference": _n(line.difference),
    }


def _n(quantity: Decimal) -> str:
    return f"{quantity.normalize():f}"
