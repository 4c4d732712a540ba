"""Rules of replenishment and a history to go by; plans, and the steps run over the needs that they open."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Engine, text

from include.cases import store
from include.cases.model import Step
from include.cases.steps import Position, run_step
from include.contracts.registry import contract
from include.data.database import authored
from include.domain.replenishment.await_goods import await_goods, log
from include.domain.replenishment.plan import Planned, plan
from include.domain.replenishment.read_need import read_need
from include.domain.replenishment.request import request
from include.domain.replenishment.rules import Rule, save_rules
from include.stock.ledger import Movement, post
from include.stock.warehouse import warehouse
from tests.support import purchases, stock
from tests.support.work import rows

WORKFLOW = "replenishment"
RULES: dict[str, Step] = {"read_need": read_need, "request": request, "await_goods": await_goods, "log": log}
BOUGHT: dict[str, Any] = {
    "item": "BOLT-8", "location": "MAIN", "method": "reorder_point", "supplier": "S-100", "unit_price": "0.50",
    "currency": "EUR", "tax_rate": "0.19", "cost_centre": "6300", "category": "material",
    "requester": "lena.hoffmann", "lead_time_days": "10",
}  # fmt: skip
FETCHED: dict[str, Any] = {
    "item": "BOLT-8", "location": "SHOP", "method": "min_max", "from_location": "MAIN", "minimum": "20",
    "maximum": "60", "requester": "lena.hoffmann",
}  # fmt: skip
_numbers = itertools.count(1)


def today() -> datetime:
    """The last midnight of the company: the end of yesterday."""
    return datetime.now(warehouse().zone).replace(hour=0, minute=0, second=0, microsecond=0)


def prepare(engine: Engine) -> None:
    """Enter items, suppliers, and a budget for material."""
    stock.prepare(engine)
    purchases.prepare(engine)
    with authored(engine, actor="system:test") as connection:
        connection.execute(
            text("""
                insert into budgets (cost_centre, category, starts, ends, amount, currency)
                values ('6300', 'material', '2026-01-01', '2040-12-31', 100000, 'EUR')""")
        )


def add_rule(engine: Engine, base: Mapping[str, Any] = BOUGHT, **more: Any) -> None:
    """Enter a rule as an import would; None clears."""
    values = {name: value for name, value in {**base, **more}.items() if value is not None}
    with authored(engine, actor="user:petra.lang") as connection:
        save_rules(connection, [Rule.model_validate(values)])


def move(engine: Engine, movements: Iterable[tuple[str, str, str, object, datetime]], item: str = "BOLT-8") -> None:
    """Post movements: kind, from, to, quantity, when."""
    with authored(engine, actor="system:test") as connection:
        post(
            connection,
            [
                Movement(f"history/{next(_numbers)}", kind, item, source, destination, Decimal(str(quantity)), at)
                for kind, source, destination, quantity, at in movements
            ],
        )


def use(engine: Engine, every: int = 2, quantity: object = 10, *, location: str = "MAIN", days: int = 180) -> None:
    """Let customers take `quantity` on every so many-th of the last days, at noon."""
    noon = today() - timedelta(hours=12)
    move(
        engine,
        [("issue", location, "CUSTOMER", quantity, noon - timedelta(days=day)) for day in range(0, days, every)],
    )


def short(engine: Engine, left: object = 50, **more: Any) -> None:
    """A bought item that runs short: 5 a day in the mean, and `left` of it there."""
    stock.stock(engine, "BOLT-8", 900 + Decimal(str(left)))
    use(engine)
    add_rule(engine, **more)


def plan_at(engine: Engine, until: datetime | None = None) -> Planned:
    """Plan the day that ends with `until`; yesterday, when none is named."""
    return plan(engine, until or today(), run=f"plan-{next(_numbers)}")


def needs(engine: Engine, what: str = "*") -> list[dict[str, Any]]:
    """All needs, in the order in which they were opened."""
    return rows(engine, f"select {what} from replenishment_needs order by id")


def claim(engine: Engine) -> Position | None:
    """Claim all needs that are pending, for a new run."""
    steps, run_id = contract(WORKFLOW).step_ids, f"need-run-{next(_numbers)}"
    claimed = store.claim(engine, workflow=WORKFLOW, steps=steps, run_id=run_id, limit=50_000)
    return Position(WORKFLOW, steps, steps[1], claimed.id, run_id) if claimed else None


def take(engine: Engine, position: Position, step: str) -> None:
    """Run one step of a claim."""
    run_step(engine, Position(WORKFLOW, position.steps, step, position.claim_id, position.run_id), RULES[step])


def work(engine: Engine, *, until: str | None = None) -> None:
    """Take all needs that are pending as far as they go, the last step being `until`."""
    position = claim(engine)
    for step in position.steps[1:] if position else ():
        take(engine, position, step)  # type: ignore[arg-type]
        if step == until:
            break


def asked(engine: Engine) -> list[dict[str, Any]]:
    """The cases that needs gave rise to, with what was handed over."""
    return rows(
        engine,
        """select c.id, c.workflow, c.parent_id, d.source, convert_from(d.body, 'UTF8')::jsonb as document
           from cases c join deliveries d on d.id = c.delivery_id
           where c.parent_id in (select case_id from replenishment_needs) order by c.id""",
    )


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)
