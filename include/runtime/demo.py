"""The demo: sample leads go in as signed webhooks, and a table shows what became of each.

It sends as any sender would, over HTTP, and only reads the database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from sqlalchemy import Engine

from include.cases.balance import are_balanced, balances
from include.data.database import connect
from include.intake.sender import Answer, Parcel, Sender, parcel
from include.intake.sources import load
from include.runtime import books, health, local
from include.runtime.environment import Home, RuntimeProblem
from include.samples.leads import samples

Advance = Callable[[int, str], None]


def demo(home: Home, console: Console, *, leads: int, seconds: float) -> bool:
    """Send `leads` samples, follow them for at most `seconds`, print the books, and return whether they balance.

    :raises RuntimeProblem: when the intake refuses a sample.
    """
    settings = local.settings(home)
    engine = connect(settings["WAYBILL_DATABASE_URL"])
    since = datetime.now(UTC)
    try:
        receipts = _send_leads(home, settings, console, leads)
        settled = _follow(engine, console, "Leads", receipts, seconds)
        changes = _close_deals(home, settings, engine, receipts)
        if changes:
            settled &= _follow(engine, console, "Deals", changes, seconds)
        _tell_the_owners(home, console, seconds)
        return _print_books(engine, console, [*receipts, *changes], since) and settled
    finally:
        engine.dispose()


def _sender(home: Home, settings: dict[str, str], name: str) -> Sender:
    source = load(environment=settings["WAYBILL_ENVIRONMENT"])[name]
    return Sender(
        f"{home.url}/intake",
        name,
        settings[source.secret or ""].split()[0],  # the first of several is the newest
        scheme=source.scheme,
        id_header=source.id_header,
    )


def _send_leads(home: Home, settings: dict[str, str], console: Console, count: int) -> list[str]:
    mailing = uuid4().hex[:12]
    by_source: dict[str, list[Parcel]] = {}
    for number, sample in enumerate(samples(count, mailing=mailing)):
        by_source.setdefault(sample.source, []).append(parcel(sample.payload, f"msg_{mailing}_{number}"))
    receipts: list[str] = []
    start = time.monotonic()
    with _Progress(console, f"Sending {count} signed webhooks", count) as advance:
        for source, parcels in by_source.items():
            answers = asyncio.run(_sender(home, settings, source).send(parcels, progress=lambda _: advance(1, "")))
            receipts += [_receipt(source, answer) for answer in answers]
    _say(console, f"{count} webhooks acknowledged in {time.monotonic() - start:.1f} s, each stored before the answer")
    _try_the_rules(home, settings, console, by_source)
    return receipts


def _receipt(source: str, answer: Answer) -> str:
    if not answer.stored or answer.receipt is None:
        raise RuntimeProblem(f"The intake answered {answer.status} to a sample from {source}: see `make logs`.")
    return answer.receipt


def _try_the_rules(home: Home, settings: dict[str, str], console: Console, by_source: dict[str, list[Parcel]]) -> None:
    """Show what the intake says to a repeated delivery and to a forged one."""
    source, parcels = next(iter(by_source.items()))
    again = asyncio.run(_sender(home, settings, source).send(parcels[:1]))[0]
    forger = Sender(f"{home.url}/intake", "website", "whsec_" + "A" * 32)
    forged = asyncio.run(forger.send([parcel({"email": "nobody@forged.example"})]))[0]
    _say(
        console,
        f"The first one sent again: {again.status}, the same receipt; one with a forged signature: {forged.status}",
    )


def _follow(engine: Engine, console: Console, what: str, receipts: list[str], seconds: float) -> bool:
    """Wait until every case has settled, and return whether all did in time."""
    deadline = time.monotonic() + seconds
    start = time.monotonic()
    done = 0
    with _Progress(console, f"{what} on their way", len(receipts)) as advance:
        while True:
            with engine.connect() as connection:
                now = books.standing(connection, receipts)
            advance(now.settled - done, ", ".join(f"{stage} {cases}" for stage, cases in now.stages.items()))
            done = now.settled
            if now.settled >= len(receipts):
                _say(console, f"{what}: all {done} have settled after {time.monotonic() - start:.1f} s")
                return True
            if time.monotonic() > deadline:
                where = ", ".join(f"{cases} at {stage}" for stage, cases in now.stages.items())
                console.print(f"[red]After {seconds:.0f} s not every case has settled: {where}.[/red] See `make logs`.")
                return False
            time.sleep(0.2)


def _close_deals(home: Home, settings: dict[str, str], engine: Engine, receipts: list[str]) -> list[str]:
    """Tell Waybill, as the CRM would, that one deal is won and one lost."""
    with engine.connect() as connection:
        deals = books.open_deals(connection, receipts, 2)
    at = datetime.now(UTC).isoformat()
    news: list[dict[str, object]] = [
        {"stage": "won", "amount": 18400, "currency": "EUR", "reason": "They liked the trial", "occurred_at": at},
        {"stage": "lost", "reason": "No budget this year", "occurred_at": at},
    ]
    parcels = [parcel({"deal_key": deal, **change}) for deal, change in zip(deals, news, strict=False)]
    answers = asyncio.run(_sender(home, settings, "crm").send(parcels))
    return [_receipt("crm", answer) for answer in answers]


def _tell_the_owners(home: Home, console: Console, seconds: float) -> None:
    """Look for trouble now instead of within the minute, so that the demo can show what the owners were told."""
    with health.client(home, local.admin_password(home)) as api:
        runs = "/api/v2/dags/waybill_alerts/dagRuns"
        run = api.post(runs, json={"logical_date": None}).raise_for_status().json()["dag_run_id"]
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            state = api.get(f"{runs}/{run}").raise_for_status().json()["state"]
            if state in ("success", "failed"):
                _say(console, "Those who answer for what was set aside have been told")
                return
            time.sleep(0.5)
    console.print("[yellow]The alerts are not out yet; they follow within the minute.[/yellow]")


def _print_books(engine: Engine, console: Console, receipts: list[str], since: datetime) -> bool:
    with engine.connect() as connection:
        figures = books.figures(connection, receipts, since)
        sheet = balances(connection)
        runs, median = books.times(connection, receipts)
    table = Table("step", "", "cases", title="What became of them", title_justify="left", box=None, padding=(0, 2))
    table.columns[2].justify = "right"
    last = ""
    for step, what, number in figures:
        table.add_row("" if step == last else f"[bold]{step}[/bold]", what, str(number))
        last = step
    console.print()
    console.print(table)
    if median is not None:
        console.print(f"  {runs} runs; half of the cases were closed within {median:.1f} s of their receipt.\n")
    columns = ("received", "finished", "rejected", "waiting", "quarantined", "in_progress", "difference")
    balance = Table(
        Column("workflow", no_wrap=True, min_width=max((len(row.workflow) for row in sheet), default=0)),
        *(Column(name.replace("_", " "), justify="right", overflow="fold") for name in columns),
        title="The books",
        title_justify="left",
        box=None,
    )
    for row in sheet:
        balance.add_row(row.workflow, *(str(getattr(row, name)) for name in columns))
    console.print(balance)
    balanced = are_balanced(sheet)
    if balanced:
        console.print("  [green]They balance: nothing was lost.[/green]")
    else:
        console.print("  [red]They do not balance: the cases of a workflow above are fewer than its deliveries.[/red]")
    return balanced


def _say(console: Console, line: str) -> None:
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {line}")


class _Progress:
    """A bar in a terminal; without one, a line whenever something moved, at most every two seconds."""

    def __init__(self, console: Console, title: str, total: int) -> None:
        self._console, self._title, self._total = console, title, total
        self._done, self._said_at, self._said = 0, 0.0, ""
        columns = (TextColumn("         {task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, TextColumn("{task.fields[where]}"), console=console, transient=True)
        self._task = self._bar.add_task(title, total=total, where="")

    def __enter__(self) -> Advance:
        if self._console.is_terminal:
            self._bar.start()
        return self._advance

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _advance(self, by: int, where: str) -> None:
        self._done += by
        if self._console.is_terminal:
            self._bar.update(self._task, advance=by, where=where)
            return
        line = f"{self._title}: {self._done}/{self._total} {where}".rstrip()
        if where and line != self._said and time.monotonic() - self._said_at > 2:
            self._said, self._said_at = line, time.monotonic()
            _say(self._console, line)
