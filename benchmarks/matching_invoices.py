"""How long 10,000 invoice lines take from received to booked, step by step, without Airflow around it.

A PostgreSQL of its own with its durable defaults, and the built-in ERP. Of the invoices most match; some differ in
price, some come before their goods, some came before. Run it with `python -m benchmarks.matching_invoices`.
"""

from __future__ import annotations

import argparse
import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson
from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine, text

from benchmarks.intake import durable_server
from include.data.database import authored, connect
from include.data.frames import copy_rows
from tests.support.orders import claim, take

LINES = 10_000
IN_AN_INVOICE = 5
AIM_SECONDS = 10.0
AIM = ("read_invoice", "find_order", "match")
"""The steps that the aim is about."""
WORKFLOW = "supplier_invoice"


@dataclass
class Measured:
    """Seconds of each step over one batch, by the clock and of this process, and what became of its invoices."""

    lines: int
    invoices: int
    seconds: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    came_to: Counter[str] = field(default_factory=Counter)


def run(lines: int = LINES, *, in_an_invoice: int = IN_AN_INVOICE) -> Measured:
    """Store orders and their invoices, take the invoices through the steps, and measure each."""
    with durable_server() as url:
        engine = connect(url)
        try:
            measured = Measured(lines, lines // in_an_invoice)
            store(engine, measured.invoices, in_an_invoice)
            preload()
            begun = time.perf_counter()
            position = claim(engine, WORKFLOW)
            assert position
            measured.seconds["capture"] = time.perf_counter() - begun
            for step in position.steps[1:]:
                begun, begun_cpu = time.perf_counter(), time.process_time()
                take(engine, position, step)
                measured.seconds[step] = time.perf_counter() - begun
                measured.cpu[step] = time.process_time() - begun_cpu
            measured.came_to = came_to(engine)
            check(engine)
        finally:
            engine.dispose()
    return measured


def preload() -> None:
    """Pay for imports and declarations, as Airflow's process does before its children run the steps."""
    from include.contracts.registry import contract
    from include.domain.purchasing import purchasing
    from include.domain.supplier_invoice import book, find_order, match, read_invoice  # noqa: F401
    from include.intake.sources import map_fields

    contract(WORKFLOW)
    purchasing()
    map_fields("invoices", b"{}")


def store(engine: Engine, orders: int, lines: int) -> None:
    """Put an order, its receipt and its invoice into the database for each number."""
    with authored(engine, actor="system:benchmark") as connection:
        budget = connection.execute(
            text("""
                insert into budgets (cost_centre, category, starts, ends, amount, currency)
                values ('6300', 'material', '2026-01-01', '2026-12-31', 100000000, 'EUR') returning id""")
        ).scalar_one()
        _deliver(connection, "purchase_approval", "purchase-portal", [{"n": number} for number in range(orders)])
        connection.execute(
            text("""
                insert into purchase_orders (case_id, number, supplier, supplier_name, currency, net, tax, rate,
                                             cost_centre, category, requester, digest)
                select id, 'PO-2026-' || lpad((row_number() over (order by id) - 1)::text, 6, '0'), 'acme', 'Acme GmbH',
                       'EUR', 0, 0, 1, '6300', 'material', 'lena.hoffmann', repeat('0', 64)
                from cases where workflow = 'purchase_approval'""")
        )
        connection.execute(
            text("""
                insert into purchase_order_lines (order_id, line, item, description, quantity, unit, unit_price,
                                                  tax_rate, account, most, received)
                select case_id, line, 'ITEM-' || line, 'Item ' || line, 10, 'pcs', 2.5, 0.19, '3000', 11,
                       case when number like '%7' and right(number, 2) < '30' then 0 else 10 end
                from purchase_orders, generate_series(1, cast(:lines as integer)) as line"""),
            {"lines": lines},
        )
        connection.execute(
            text("""
                insert into budget_entries (budget_id, case_id, key, kind, committed)
                select :budget, case_id, 'commit/' || case_id, 'commit', 25 * cast(:lines as integer)
                from purchase_orders"""),
            {"budget": budget, "lines": lines},
        )
        connection.execute(text("insert into erp_suppliers (key) values ('acme')"))
        connection.execute(
            text("""
                insert into erp_purchase_orders (key, number, supplier, document)
                select number, number, 'acme', cast(:document as jsonb) from purchase_orders"""),
            {"document": Jsonb({"lines": [{"line": number} for number in range(1, lines + 1)]})},
        )
        _deliver(connection, WORKFLOW, "invoices", [_invoice(number, lines) for number in range(orders)])


def _deliver(connection: Connection, workflow: str, source: str, bodies: Sequence[Mapping[str, object]]) -> None:
    rows = []
    for number, body in enumerate(bodies):
        raw = orjson.dumps(body)
        rows.append((uuid.uuid4(), source, workflow, f"id:{number}", hashlib.sha256(raw).digest(), raw))
    copy_rows(connection, "deliveries", ("id", "source", "workflow", "key", "digest", "body"), rows)
    connection.execute(
        text("""
            insert into cases (workflow, key, delivery_id, stage, owner)
            select workflow, source || '/' || key, id, 'capture', 'accounts_payable'
            from deliveries where workflow = :workflow order by substr(key, 4)::integer"""),
        {"workflow": workflow},
    )


def _invoice(number: int, lines: int) -> dict[str, object]:
    """One in twenty costs more than was ordered, one in fifty has its predecessor's number."""
    price = "2.95" if number % 20 == 3 else "2.50"
    return {
        "number": f"R-{number - (number % 50 == 11)}",
        "supplier": "acme",
        "order": f"PO-2026-{number:06}",
        "currency": "EUR",
        "invoice_date": "2026-11-20",
        "lines": [
            {"item": f"item {line}", "quantity": 10, "unit_price": price, "tax_rate": 19}
            for line in range(1, lines + 1)
        ],
    }


def came_to(engine: Engine) -> Counter[str]:
    """Count the invoices by what became of them."""
    with engine.connect() as connection:
        rows = connection.execute(
            text("""
                select coalesce(outcome, reasons->0->>'code', state), count(*) from cases
                where workflow = :workflow group by 1"""),
            {"workflow": WORKFLOW},
        )
        return Counter({row[0]: row[1] for row in rows})


def check(engine: Engine) -> None:
    """Fail when a case is lost, the journal does not balance, or more is invoiced than was received."""
    with engine.connect() as connection:
        wrong = connection.execute(
            text("""
                select (select count(*) from balance where difference <> 0),
                       (select coalesce(sum(debit) - sum(credit), 0) from journal_lines),
                       (select count(*) from purchase_order_lines where invoiced - credited > received)""")
        ).one()
    assert not any(wrong), wrong


def table(measured: Measured) -> str:
    """Return what was measured as a Markdown table."""
    lines = ["| step | seconds | of which this process | lines/s |", "|---|---:|---:|---:|"]
    for step, seconds in measured.seconds.items():
        lines.append(f"| {step} | {seconds:.2f} | {measured.cpu.get(step, 0):.2f} | {measured.lines / seconds:,.0f} |")
    whole, aimed = sum(measured.seconds.values()), sum(measured.seconds[step] for step in AIM)
    verdict = "met" if aimed < AIM_SECONDS * measured.lines / LINES else "missed"
    lines += [
        f"| **all** | {whole:.2f} | {sum(measured.cpu.values()):.2f} | {measured.lines / whole:,.0f} |",
        "",
        f"{measured.lines:,} lines in {measured.invoices:,} invoices: "
        + ", ".join(f"{count:,} {what}" for what, count in measured.came_to.most_common())
        + f". Read, find and match take {aimed:.2f} s; aim for 10,000 lines: {AIM_SECONDS:g} s, {verdict}.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--in-an-invoice", type=int, default=IN_AN_INVOICE, help="lines of each invoice")
    options = parser.parse_args()
    print(table(run(options.lines, in_an_invoice=options.in_an_invoice)))


if __name__ == "__main__":
    main()
