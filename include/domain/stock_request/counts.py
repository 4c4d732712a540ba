"""Counts among the stock requests: what was counted becomes the difference that is posted.

The difference is computed when a request is read, so that the policy and the approvers see it, and again with the
places held right before it is posted: where something back-dated changed it meanwhile, what was decided does not hold
any more, and the request goes back to `route`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from decimal import Decimal
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Row, text

from include.stock.counting import Count, differences_of_count, record_counts
from include.stock.ledger import Place, hold

NOTHING = "nothing"
"""The verdict of a line without a difference."""

# A line that cannot be read, or was rejected, has no difference; what is posted is never computed again.
_LINES = """
    select l.case_id, l.line, l.item, r.origin as location, l.lot, l.counted, r.sheet, l.quantity, l.verdict,
           coalesce(l.occurred_at, r.occurred_at) as counted_at
    from stock_requests r join stock_request_lines l using (case_id)
    where r.case_id = any(:ids) and r.kind = 'count' and r.posted_at is null and l.item is not null
      and l.counted >= 0 and r.origin is not null and coalesce(l.occurred_at, r.occurred_at) is not null
      and (l.verdict is null or l.verdict = 'nothing')
    order by l.case_id, l.line"""


def compare_counts(connection: Connection, case_ids: Collection[int]) -> set[int]:
    """Write `expected` and the signed `quantity` of every counted line; one without a difference gets `nothing`.

    Call it wherever the lines of counts were written; other kinds of requests are left alone.

    :returns: the cases of which a difference is another one than before.
    """
    return _compare(connection, case_ids, _lines(connection, case_ids))


def recheck_counts(connection: Connection, case_ids: Collection[int]) -> dict[int, str]:
    """Compare once more, with the places held; call it where counts are posted, before they are.

    Hold everything else that the batch touches first, or in the same call, so that two batches cannot deadlock:
    `counted_places` are the places that this will hold.

    :returns: case -> the step to which it is sent back: `route` where its differences changed, `post` where a newer
        count of the same place in this batch has to be posted first. The others can be posted as they are.
    """
    lines = _lines(connection, case_ids)
    hold(connection, [_place(line) for line in lines])
    late = _older(lines)
    changed = _compare(connection, set(case_ids) - late, [line for line in lines if line.case_id not in late])
    return {**dict.fromkeys(late, "post"), **dict.fromkeys(changed, "route")}


def counted_places(connection: Connection, case_ids: Collection[int]) -> list[Place]:
    """Return the places that these cases counted."""
    return [_place(line) for line in _lines(connection, case_ids)]


def _lines(connection: Connection, case_ids: Collection[int]) -> Sequence[Row[Any]]:
    return connection.execute(text(_LINES), {"ids": sorted(case_ids)}).all()


def _place(line: Row[Any]) -> Place:
    return Place(line.item, line.location, line.lot)


def _older(lines: Sequence[Row[Any]]) -> set[int]:
    """Return the cases of which some place was counted later by another case of the batch."""
    latest: dict[Place, tuple[Any, int]] = {}
    for line in lines:
        mark = (line.counted_at, line.case_id)
        latest[_place(line)] = max(latest.get(_place(line), mark), mark)
    return {line.case_id for line in lines if latest[_place(line)][1] != line.case_id}


def _compare(connection: Connection, case_ids: Collection[int], lines: Sequence[Row[Any]]) -> set[int]:
    found = differences_of_count(
        connection,
        [
            Count(
                line.case_id, line.line, line.item, line.location, line.counted, line.counted_at, line.lot, line.sheet
            )
            for line in lines
        ],
    )
    record_counts(connection, case_ids, found)
    connection.execute(
        text("""
            update stock_request_lines l set expected = v.expected, quantity = v.quantity, verdict = v.verdict
            from jsonb_to_recordset(:rows)
                 as v(case_id bigint, line integer, expected numeric, quantity numeric, verdict text)
            where l.case_id = v.case_id and l.line = v.line"""),
        {
            "rows": Jsonb(
                [
                    {
                        "case_id": difference.count.case_id,
                        "line": difference.count.line,
                        "expected": difference.expected,
                        "quantity": difference.quantity,
                        "verdict": None if difference.quantity else NOTHING,
                    }
                    for difference in found
                ]
            )
        },
    )
    return {
        line.case_id
        for line, difference in zip(lines, found, strict=True)
        if (line.quantity or Decimal(0)) != difference.quantity
        or (line.verdict == NOTHING) == bool(difference.quantity)
    }
