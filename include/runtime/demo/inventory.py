"""The demo's warehouse: goods come in, a day of requests is worked through, and the stock is shown with its sums.

Requests go in as scanners send them; what ops would trigger in Airflow is triggered there.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

from rich.table import Column, Table
from sqlalchemy import text

from include.intake.sender import parcel
from include.runtime.demo.stage import Stage, mailing
from include.samples import stock as samples
from include.stock import check, valuation
from include.stock.warehouse import warehouse

TRIGGERED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("replenishment_rules", {"rows": samples.RULES}),
    ("replenishment_plan", {}),
    ("stock_reconcile", {}),
    ("stock_exceptions", {}),
)
"""What ops would trigger, or the clock would, in this order."""


def show_inventory(stage: Stage) -> tuple[list[str], bool]:
    """Play the sample warehouse; return all receipts, and whether all settled in time."""
    settled = stage.run("stock_items", {"rows": samples.ITEMS})
    name, receipts = mailing(), list[str]()
    for what, requests in (
        ("Goods that come in", samples.opening_stock),
        ("Stock requests", samples.a_day_of_requests),
    ):
        for source, each in groupby(requests(mailing=name), key=lambda request: request.source):
            receipts += stage.send(source, [parcel(one.payload, one.payload["id"]) for one in each])
        settled &= stage.follow(what, receipts)
    for dag_id, params in TRIGGERED:
        settled &= stage.run(dag_id, params)
    settled &= stage.wait("not everything in the warehouse has settled", lambda: _settled(stage))
    return receipts, settled


def print_inventory(stage: Stage, receipts: Sequence[str]) -> bool:
    """Print where the requests stand and what is where; return whether the stock balances."""
    table = Table(
        "request", "kind", "what", "stands", "who has it", "why",
        title="Where the stock requests stand", title_justify="left", box=None, padding=(0, 2),
    )  # fmt: skip
    for row in standing(stage, receipts):
        table.add_row(row["number"], row["kind"], row["what"], row["stands"], row["owner"], row["why"])
    stage.console.print()
    stage.console.print(table)
    return _print_stock(stage)


def standing(stage: Stage, receipts: Sequence[str]) -> list[dict[str, Any]]:
    """Return where each request of the day stands, and who has it; of the opening stock only what is not posted."""
    with stage.engine.connect() as connection:
        rows = connection.execute(
            text("""
                select coalesce(r.number, 'case ' || c.id) as number, coalesce(r.kind, '') as kind,
                       left(split_part(coalesce(r.reason, r.reference, ''), ':', 1), 40) as what,
                       case c.state when 'finished' then c.outcome when 'waiting' then 'waits at ' || c.stage
                                    when 'quarantined' then 'set aside' else c.state end as stands,
                       case when c.state in ('finished', 'rejected') then '' else c.owner end as owner,
                       coalesce((select string_agg(distinct found->>'code', ', ')
                                 from jsonb_array_elements(c.reasons) found), '') as why
                from cases c left join stock_requests r on r.case_id = c.id
                where c.workflow = 'stock_request'
                  and (c.delivery_id = any(cast(:receipts as uuid[])) or c.parent_id in (
                       select id from cases where delivery_id = any(cast(:receipts as uuid[]))))
                  and (r.reason is distinct from 'Opening stock' or c.outcome is distinct from 'posted')
                order by c.id"""),
            {"receipts": list(receipts)},
        )
        return [dict(row) for row in rows.mappings()]


def _print_stock(stage: Stage) -> bool:
    """Print quantities by item and place, with every item's sum over all places, which is zero."""
    with stage.engine.connect() as connection:
        rows = connection.execute(
            text("""
                select item, location, sum(quantity) as quantity from stock_balances
                group by item, location having sum(quantity) <> 0 order by item, location""")
        ).all()
        wrong = check.differences(connection)
        worth = valuation.totals(valuation.stock_value(connection), "item")
    places = [code for code in warehouse().locations if any(row.location == code for row in rows)]
    table = Table(
        "item", *(Column(place, justify="right", no_wrap=True) for place in places), Column("sum", justify="right"),
        Column("value", justify="right", no_wrap=True),
        title="The stock", title_justify="left", box=None, padding=(0, 1),
    )  # fmt: skip
    sums = Decimal(0)
    for item in sorted({row.item for row in rows}):
        at = {row.location: row.quantity for row in rows if row.item == item}
        total = sum(at.values(), Decimal(0))
        sums += abs(total)
        cells = (f"{at[place].normalize():f}" if place in at else "" for place in places)
        table.add_row(item, *cells, f"{total.normalize():f}", f"{worth.get(item, Decimal(0)):,.2f}")
    stage.console.print()
    stage.console.print(table)
    balanced = sums == 0 and not wrong
    verdict = (
        "[green]It balances: each item sums to zero, and what is kept is what the movements say.[/green]"
        if balanced
        else "[red]It does not balance: run `python -m include.stock check`.[/red]"
    )
    stage.console.print(f"  {verdict}\n  The page of stock exceptions is under {stage.home.url}/stock-exceptions/.\n")
    return balanced


def _settled(stage: Stage) -> bool:
    with stage.engine.connect() as connection:
        under_way: int = connection.execute(
            text("""
                select count(*) from cases where state in ('pending', 'running')
                  and workflow in ('stock_request', 'stock_difference', 'replenishment')""")
        ).scalar_one()
    return under_way == 0
