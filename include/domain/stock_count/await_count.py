"""The steps `await_count` and `log`: a sheet waits until every line is counted, and is closed with what came of it.

What counts is what was settled: a count that waits for a decision, and one that was refused, leave the line open. The
database wakes a sheet whenever a count that names it is entered, settled or ended.
"""

from __future__ import annotations

from sqlalchemy import text

from include.approvals.people import people
from include.cases import store
from include.cases.model import StepResult, Work
from include.contracts.registry import contract
from include.stock.warehouse import warehouse

COUNTED = "counted"
"""The event on a sheet's case."""


def await_count(work: Work) -> StepResult:
    """Let complete sheets go on; the others wait for their counter, or for the keeper once all lines are entered."""
    rows = work.connection.execute(
        text("""
            with written as (
                update count_sheet_lines l set counted = p.counted, counted_at = p.counted_at, difference = p.difference
                from count_progress p
                where l.case_id = any(:ids) and p.case_id = l.case_id and p.line = l.line and p.state = 'settled'
            )
            select case_id, location, counter, count(*) filter (where state = 'open') as open,
                   count(*) filter (where state = 'entered') as entered
            from count_progress where case_id = any(:ids) group by case_id, location, counter order by case_id"""),
        work.values,
    )
    team = contract(work.workflow).step(work.step).owner.id
    result = StepResult()
    for row in rows:
        if not row.open and not row.entered:
            continue
        location = warehouse().locations.get(row.location)
        keeper = location.keeper if location else None
        asked = [row.counter, keeper] if row.open else [keeper]
        result.wait[row.case_id] = next((each for each in asked if each and people().decides(each)), team)
    return result


def log(work: Work) -> StepResult:
    """Close each sheet with the number of its differences."""
    rows = work.connection.execute(
        text("""
            select case_id, count(*) as lines, count(*) filter (where difference <> 0) as differences
            from count_sheet_lines where case_id = any(:ids) group by case_id"""),
        work.values,
    )
    found = {row.case_id: (row.lines, row.differences) for row in rows}
    details = {case_id: {"lines": lines, "differences": wrong} for case_id, (lines, wrong) in found.items()}
    store.record_each(work.connection, COUNTED, details)
    return StepResult(close={case_id: _outcome(wrong) for case_id, (_, wrong) in found.items()})


def _outcome(differences: int) -> str:
    if not differences:
        return "counted, no difference"
    return f"counted, {differences} difference{'s' if differences > 1 else ''}"
