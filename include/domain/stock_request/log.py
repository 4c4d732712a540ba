"""The step `log`: closes each case with what became of its lines."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from include.cases.model import StepResult, Work

_VERDICTS = text("""
    select r.case_id, t.state as transfer,
           count(l.line) as lines,
           count(*) filter (where l.posted > 0) as moved,
           count(*) filter (where l.verdict in ('back_order', 'short', 'held', 'rejected')) as left_out,
           count(*) filter (where l.verdict = 'rejected') as rejected,
           count(*) filter (where l.verdict = 'held') as held,
           count(*) filter (where l.verdict = 'nothing') as without
    from stock_requests r left join stock_request_lines l using (case_id) left join stock_transfers t using (case_id)
    where r.case_id = any(:ids) group by r.case_id, t.state""")


def log(work: Work) -> StepResult:
    """Close each case with its outcome."""
    found = {row.case_id: row for row in work.connection.execute(_VERDICTS, work.values)}
    return StepResult(close={case_id: _outcome(found.get(case_id)) for case_id in work.case_ids})


def _outcome(row: Any) -> str:
    if row is None or not row.lines:
        return "nothing to post"
    if row.transfer == "closed short":
        return "closed short"
    if row.moved:
        return "posted in part" if row.left_out else "posted"
    if row.rejected == row.lines:
        return "rejected lines only"
    if row.held:
        return "held lines only" if row.held + row.rejected == row.lines else "nothing to post"
    return "no difference" if row.without == row.lines else "nothing to post"
