"""What the parts of the demo have in common: sending as a sender does, following cases, and saying so.

It shows no figures; those are in `books`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine

from include.intake.sender import Answer, Parcel, Sender
from include.intake.sources import load
from include.runtime.demo import books
from include.runtime.desk import Desk
from include.runtime.environment import USER, Home, RuntimeProblem

Advance = Callable[[int, str], None]


@dataclass(frozen=True)
class Stage:
    """Where the demo plays.

    :param seconds: the longest time that is waited for any part of it.
    """

    home: Home
    settings: dict[str, str]
    engine: Engine
    console: Console
    seconds: float

    def say(self, line: str) -> None:
        """Print a line with the time before it."""
        say(self.console, line)

    def sender(self, name: str) -> Sender:
        """Return a sender who has the source's secret."""
        source = load(environment=self.settings["WAYBILL_ENVIRONMENT"])[name]
        return Sender(
            f"{self.home.url}/intake",
            name,
            self.settings[source.secret or ""].split()[0],  # the first of several is the newest
            scheme=source.scheme,
            id_header=source.id_header,
        )

    def send(self, source: str, parcels: Sequence[Parcel], progress: Advance | None = None) -> list[str]:
        """Send deliveries, and return their receipts.

        :raises RuntimeProblem: when the intake refuses one.
        """
        tell = progress or (lambda *_: None)
        answers = asyncio.run(self.sender(source).send(parcels, progress=lambda _: tell(1, "")))
        return [_receipt(source, answer) for answer in answers]

    def follow(self, what: str, receipts: Sequence[str]) -> bool:
        """Wait until every case has settled, and return whether all did in time."""
        deadline = time.monotonic() + self.seconds
        start = time.monotonic()
        done = 0
        with Bar(self.console, f"{what} on their way", len(receipts)) as advance:
            while True:
                with self.engine.connect() as connection:
                    now = books.standing(connection, receipts)
                advance(now.settled - done, ", ".join(f"{stage} {cases}" for stage, cases in now.stages.items()))
                done = now.settled
                if now.settled >= len(receipts):
                    self.say(f"{what}: all {done} have settled after {time.monotonic() - start:.1f} s")
                    return True
                if time.monotonic() > deadline:
                    where = ", ".join(f"{cases} at {stage}" for stage, cases in now.stages.items())
                    self.console.print(
                        f"[red]After {self.seconds:.0f} s not every case has settled: {where}.[/red] See `make logs`."
                    )
                    return False
                time.sleep(0.2)

    def run(self, dag_id: str, params: dict[str, Any], account: str = USER) -> bool:
        """Trigger a DAG as that account does in the UI, and return whether its run succeeded in time."""
        with Desk(self.home) as desk:
            api = desk.client(account)
            runs = f"/api/v2/dags/{dag_id}/dagRuns"
            answer = api.post(runs, json={"logical_date": None, "conf": params}).raise_for_status()
            run = f"{runs}/{answer.json()['dag_run_id']}"
            ended = self.wait(
                f"the run of {dag_id} has not ended",
                lambda: api.get(run).raise_for_status().json()["state"] in ("success", "failed"),
            )
            state = api.get(run).raise_for_status().json()["state"]
        self.say(f"{dag_id}: {state}")
        return ended and bool(state == "success")

    def wait(self, what: str, check: Callable[[], bool]) -> bool:
        """Wait until `check` is true, and return whether it became so in time."""
        deadline = time.monotonic() + self.seconds
        while not check():
            if time.monotonic() > deadline:
                self.console.print(f"[red]After {self.seconds:.0f} s: {what}.[/red] See `make logs`.")
                return False
            time.sleep(0.2)
        return True


def mailing() -> str:
    """Return what makes this mailing's deliveries others than the last one's."""
    return uuid4().hex[:12]


def _receipt(source: str, answer: Answer) -> str:
    if not answer.stored or answer.receipt is None:
        raise RuntimeProblem(f"The intake answered {answer.status} to a sample from {source}: see `make logs`.")
    return answer.receipt


def say(console: Console, line: str) -> None:
    """Print a line with the time before it."""
    console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {line}")


class Bar:
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
            say(self._console, line)
