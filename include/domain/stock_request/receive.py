"""The step `receive`: a transfer waits here until all that was shipped has arrived or was given up."""

from __future__ import annotations

from sqlalchemy import text

from include.cases.model import StepResult, Work
from include.contracts.registry import contract
from include.stock.warehouse import warehouse


def receive(work: Work) -> StepResult:
    """Let everything go on but transfers of which something is under way; these wait for their destination's keeper."""
    rows = work.connection.execute(
        text("""
            select t.case_id, t.destination from stock_transfers t
            where t.case_id = any(:ids) and exists (
                select from stock_transfer_lines l where l.case_id = t.case_id and l.received + l.lost < l.shipped)
            order by t.case_id"""),
        work.values,
    )
    places, team = warehouse().locations, contract(work.workflow).step(work.step).owner.id
    return StepResult(
        wait={row.case_id: (row.destination in places and places[row.destination].keeper) or team for row in rows}
    )
