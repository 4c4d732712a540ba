"""What was counted, as differences: the quantity by which the books are put right at the moment of counting."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from include.stock.counting import Count, differences_of_count, record_counts

_COUNTS = """
    select l.case_id, l.line, l.item, r.origin as location, l.counted,
           coalesce(l.occurred_at, r.occurred_at) as counted_at, l.lot, r.sheet
    from stock_requests r join stock_request_lines l using (case_id)
    where r.case_id = any(:ids) and l.counted is not null and l.item is not null and r.origin is not null
    order by l.case_id, l.line"""
_WRITE = """
    update stock_request_lines l set quantity = v.quantity, expected = v.expected
    from unnest(cast(:cases as bigint[]), cast(:lines as integer[]), cast(:quantities as numeric[]),
                cast(:expected as numeric[])) as v(case_id, line, quantity, expected)
    where l.case_id = v.case_id and l.line = v.line"""


def compare(connection: Connection, case_ids: Sequence[int]) -> None:
    """Hold what some requests counted against the books, and write what they differ by to the lines."""
    if not case_ids:
        return
    counts = [Count(**row) for row in connection.execute(text(_COUNTS), {"ids": list(case_ids)}).mappings()]
    found = differences_of_count(connection, counts)
    record_counts(connection, case_ids, found)
    connection.execute(
        text(_WRITE),
        {
            "cases": [each.count.case_id for each in found],
            "lines": [each.count.line for each in found],
            "quantities": [each.quantity for each in found],
            "expected": [each.expected for each in found],
        },
    )
