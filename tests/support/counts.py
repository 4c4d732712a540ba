"""Count sheets as the plan hands them over, their steps, and what people enter on them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import Engine

from include.cases import store
from include.cases.steps import Position, Tally, run_step
from include.contracts.registry import contract
from include.data.database import authored
from include.domain.stock_count.announce import plan_announce
from include.domain.stock_count.await_count import await_count, log
from include.domain.stock_count.entry import submit
from include.domain.stock_count.read_sheet import read_sheet
from include.intake.handoffs import Handoff, hand_over
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.steps import run_effect_step
from include.integrations.systems import Mode
from tests.support.work import rows

WORKFLOW = "stock_count"
RULES: dict[str, Callable[..., Any]] = {"read_sheet": read_sheet, "await_count": await_count, "log": log}
_numbers = itertools.count(1)


def sheet(engine: Engine, *places: str, **more: Any) -> tuple[int, str]:
    """Hand over a sheet of items (`FLOUR/L1` names a lot) at MAIN for olaf.winter; return its case and number."""
    number = f"CS-TEST-{next(_numbers)}"
    lines = [dict(zip(("item", "lot"), [*place.split("/"), ""], strict=False)) for place in places]
    document = {
        "number": number, "location": "MAIN", "counter": "olaf.winter", "planned_for": "2026-03-02", "blind": True,
        "lines": lines, **more,
    }  # fmt: skip
    with authored(engine, actor="system:count_plan") as connection:
        assert hand_over(connection, "count-sheet", [Handoff(number, document)]) == 1
    (row,) = rows(engine, "select id from cases where key like '%:' || :number", number=number)
    return row["id"], number


def claim(engine: Engine) -> Position | None:
    """Claim all sheets that are pending, for a new run."""
    steps, run_id = contract(WORKFLOW).step_ids, f"count-run-{next(_numbers)}"
    claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=run_id)
    return Position(WORKFLOW, steps, steps[1], claimed.id, run_id) if claimed else None


def take(engine: Engine, position: Position, step: str) -> Tally:
    """Run one step of a claim."""
    here = Position(position.workflow, position.steps, step, position.claim_id, position.run_id)
    if step in RULES:
        return run_step(engine, here, RULES[step])
    return run_effect_step(engine, here, plan_announce, LocalMailbox(engine), system="mail", mode=Mode.LIVE)


def work(engine: Engine) -> None:
    """Take all sheets that are pending as far as they go."""
    while position := claim(engine):
        for step in position.steps[1:]:
            take(engine, position, step)


def enter(engine: Engine, number: str | None, lines: str, *, account: str = "olaf.winter", **more: Any) -> int:
    """Paste what was counted into the form; return the case of the count."""
    form = {"sheet": number, "lines": lines, "counted_at": datetime.now(UTC).isoformat(), **more}
    form_id = f"manual__{next(_numbers)}"
    submit(engine, form, account=account, form_id=form_id, actor=f"user:{account}")
    (row,) = rows(engine, "select id from cases where key = 'stock-form/id:' || :id", id=form_id)
    return int(row["id"])


def planned(engine: Engine) -> list[tuple[date, str, str, str]]:
    """Day, location, item and lot of each line of the sheets that were handed over, in the order of the sheets."""
    found = rows(
        engine,
        """select document, l.line from (select id, convert_from(body, 'UTF8')::jsonb as document from deliveries
                                         where source = 'count-sheet') d,
                  jsonb_array_elements(document -> 'lines') as l(line) order by d.id""",
    )
    return [
        (date.fromisoformat(row["document"]["planned_for"]), row["document"]["location"], row["line"]["item"],
         row["line"]["lot"])
        for row in found
    ]  # fmt: skip
