"""The demo: sample work goes in as signed webhooks, people decide, and tables and reports show what became of it.

It sends as any sender would, over HTTP, answers as people do, over Airflow's API, and only reads the database.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Column, Table

from include.cases.balance import are_balanced, balances
from include.data.database import connect
from include.runtime import health, local
from include.runtime.demo import books
from include.runtime.demo.inventory import print_inventory, show_inventory
from include.runtime.demo.leads import show_leads
from include.runtime.demo.purchases import show_purchases, standing
from include.runtime.demo.reports import ask_for_reports, follow_reports, print_reports
from include.runtime.demo.stage import Stage
from include.runtime.demo.tour import print_tour
from include.runtime.environment import Home


def demo(home: Home, console: Console, *, leads: int, seconds: float) -> bool:
    """Play the sample leads, purchases and stock, each part for at most `seconds`; print the books, reports and pages.

    :param leads: how many.
    :returns: whether books and stock balance, all came to rest in time, and the reports went out.
    :raises RuntimeProblem: when the intake refuses a sample.
    """
    settings = local.settings(home)
    engine = connect(settings["WAYBILL_DATABASE_URL"])
    stage = Stage(home, settings, engine, console, seconds)
    since = datetime.now(UTC)
    try:
        of_leads, settled = show_leads(stage, leads)
        of_purchases, bought = show_purchases(stage)
        of_stock, stored = show_inventory(stage)
        run = ask_for_reports(stage)
        _tell_the_owners(stage)
        told = follow_reports(stage, run)
        _print_purchases(stage, of_purchases)
        balanced = print_inventory(stage, of_stock)
        balanced &= _print_books(stage, of_leads, since)
        print_reports(stage, since)
        print_tour(stage)
        return balanced and settled and bought and stored and told
    finally:
        engine.dispose()


def _tell_the_owners(stage: Stage) -> None:
    """Look for trouble now instead of within the minute, so that the demo can show what the owners were told."""
    with health.client(stage.home, local.admin_password(stage.home)) as api:
        runs = "/api/v2/dags/waybill_alerts/dagRuns"
        run = api.post(runs, json={"logical_date": None}).raise_for_status().json()["dag_run_id"]
        deadline = time.monotonic() + stage.seconds
        while time.monotonic() < deadline:
            state = api.get(f"{runs}/{run}").raise_for_status().json()["state"]
            if state in ("success", "failed"):
                stage.say("Those who answer for what was set aside have been told")
                return
            time.sleep(0.5)
    stage.console.print("[yellow]The alerts are not out yet; they follow within the minute.[/yellow]")


def _print_purchases(stage: Stage, receipts: list[str]) -> None:
    table = Table(
        "request", "what", Column("amount", justify="right"), "stands", "who has it", "why",
        title="Where the purchases stand", title_justify="left", box=None, padding=(0, 2),
    )  # fmt: skip
    for row in standing(stage, receipts):
        amount = "" if row["gross"] is None else f"{row['gross']:,.2f} {row['currency']}"
        table.add_row(row["number"], row["what"] or "", amount, row["stands"], row["owner"], row["why"])
    stage.console.print()
    stage.console.print(table)
    stage.console.print(
        f"  What waits for a decision is under {stage.home.url}/required_actions; the approvers are named below.\n"
    )


def _print_books(stage: Stage, receipts: list[str], since: datetime) -> bool:
    with stage.engine.connect() as connection:
        figures = books.figures(connection, receipts, since)
        sheet = balances(connection)
        runs, median = books.times(connection, receipts)
    table = Table("step", "", "cases", title="What became of them", title_justify="left", box=None, padding=(0, 2))
    table.columns[2].justify = "right"
    last = ""
    for step, what, number in figures:
        table.add_row("" if step == last else f"[bold]{step}[/bold]", what, str(number))
        last = step
    stage.console.print()
    stage.console.print(table)
    if median is not None:
        stage.console.print(f"  {runs} runs; half of the cases were closed within {median:.1f} s of their receipt.\n")
    columns = {
        "received": "received",
        "finished": "finished",
        "rejected": "rejected",
        "waiting": "waiting",
        "quarantined": "set aside",
        "in_progress": "under way",
        "difference": "lost",
    }
    balance = Table(
        Column("workflow", no_wrap=True, min_width=max((len(row.workflow) for row in sheet), default=0)),
        *(Column(title, justify="right", no_wrap=True) for title in columns.values()),
        title="The books",
        title_justify="left",
        box=None,
    )
    for row in sheet:
        balance.add_row(row.workflow, *(str(getattr(row, name)) for name in columns))
    stage.console.print(balance)
    balanced = are_balanced(sheet)
    if balanced:
        stage.console.print("  [green]They balance: nothing was lost.[/green]")
    else:
        stage.console.print(
            "  [red]They do not balance: the cases of a workflow above are fewer than its deliveries.[/red]"
        )
    return balanced
