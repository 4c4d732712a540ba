"""How long a day's reports take over a year's work: run it with `python -m benchmarks reports`.

All four daily reports of yesterday are made, checked by Great Expectations, and kept, each in a process of its own
that forks from one with the libraries loaded, as Airflow's tasks do here; then each goes out to files, chat and mail.
What is in the database, `company` says.
"""

from __future__ import annotations

import multiprocessing
import resource
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Engine, text

from include.data import database
from include.integrations.builtin.chat_log import ChatLog
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.ledger import Scope, deliver
from include.integrations.systems import Mode
from include.reporting import editions
from include.reporting.catalogue import REPORTS
from include.reporting.files import Folder, ReportFiles
from include.reporting.going_out import CHAT, FILES, MAIL, plan
from include.reporting.intervals import Period, last_whole
from include.stock.warehouse import warehouse

AIM = 60.0
DAYS = 365

# The editions of the days before, so that the page has a history to list.
_HISTORY = """
    insert into report_editions (report, period, first_day, starts_at, ends_at, revision, digest, figures, state,
                                 reasons, effects, written_at)
    select report, period, first_day - n, starts_at - n * interval '1 day', ends_at - n * interval '1 day', revision,
           digest, figures, state, reasons, effects, written_at - n * interval '1 day'
    from report_editions, generate_series(1, :days) n where id <= :newest order by n desc
    on conflict do nothing"""


@dataclass(frozen=True)
class Made:
    """One report.

    :param cpu: seconds of CPU that its process took; the rest of `seconds` the database worked, or others did.
    :param memory_mb: what its process held at most, the libraries included.
    """

    name: str
    seconds: float
    cpu: float
    memory_mb: float
    rows: int
    state: str


@dataclass(frozen=True)
class Figures:
    """All reports, and the seconds in which what they plan went out."""

    made: list[Made]
    sent: float

    @property
    def seconds(self) -> float:
        """All of it, one after another."""
        return sum(each.seconds for each in self.made) + self.sent


def run(engine: Engine) -> Figures:
    """Make and send the reports of yesterday."""
    import great_expectations.expectations  # noqa: F401 - takes seconds, and is loaded by Airflow's scheduler

    engine.dispose()  # nobody shares a connection with the processes
    apart = multiprocessing.get_context("fork")
    made = []
    for name in REPORTS:
        begun = time.monotonic()
        with apart.Pool(1) as pool:
            cpu, memory_mb, rows, state = pool.apply(_make, (name,))
        made.append(Made(name, time.monotonic() - begun, cpu, memory_mb, rows, state))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="waybill-bench-") as folder:
        deliver(engine, ChatLog(engine), system="chat", scope=Scope(step=CHAT))
        deliver(engine, LocalMailbox(engine), system="mail", scope=Scope(step=MAIL))
        deliver(engine, ReportFiles(engine, Folder(Path(folder))), system="reporting", scope=Scope(step=FILES))
    sent = time.monotonic() - begun
    with engine.begin() as connection:
        newest = connection.execute(text("select max(id) from report_editions")).scalar_one()
        connection.execute(text(_HISTORY), {"days": DAYS, "newest": newest})
    return Figures(made, sent)


def _make(name: str) -> tuple[float, float, int, str]:
    """Make one report in this process; return its CPU in seconds, its peak in MB, its rows, and its state."""
    yesterday = last_whole(Period.DAILY, datetime.now(UTC), warehouse().zone)
    made = editions.make(database.engine(), REPORTS[name], yesterday, plan, Mode.LIVE, run="benchmark")
    used = resource.getrusage(resource.RUSAGE_SELF)
    reasons = "; ".join(reason["message"] for reason in made.reasons or [])
    return (
        used.ru_utime + used.ru_stime,
        used.ru_maxrss / 1024,
        sum(map(len, made.tables.values())),
        f"{made.state}{': ' if reasons else ''}{reasons}",
    )


def table(figures: Figures) -> str:
    """Return what was measured as a table."""
    lines = ["| report of a day | seconds | CPU s | peak MB | rows | |", "|---|---:|---:|---:|---:|---|"]
    for each in figures.made:
        measured = f"{each.seconds:.1f} | {each.cpu:.1f} | {each.memory_mb:,.0f} | {each.rows:,}"
        lines.append(f"| {each.name} | {measured} | {each.state} |")
    verdict = "met" if figures.seconds <= AIM else "**missed**"
    lines.append(f"| files, chat, mail | {figures.sent:.1f} | | | | |")
    return "\n".join([*lines, f"| **all** | **{figures.seconds:.1f}** | | | | aim {AIM:g} s: {verdict} |"])
