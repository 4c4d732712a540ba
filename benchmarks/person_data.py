"""How long exporting and erasing a person takes, over a year of work: run it with `python -m benchmarks person_data`.

What is in the database, `company` says; besides, each lead got a mail and a task of the built-in systems, each contact
is found by six digests, and twenty others name the person in what they wrote. Meanwhile somebody else does what every
batch of leads does, many times a second, so that it can be seen whether they are held up. At the end all tables are
looked through for what is left, by another query than that of the erasure.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
from sqlalchemy import Connection, Engine, event, text

from include.data.database import authored
from include.data.matching import directory
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.systems import Mode
from include.privacy.erase import erase, plan
from include.privacy.inventory import inventory
from include.privacy.mentions import tables
from include.privacy.person import Person, by_case
from include.privacy.requests import export_to_file

ACTOR = "user:benchmark"
PAUSE = 0.02  # seconds between two looks of whoever works meanwhile
NAMED_BY = 20
BATCH = 100_000

_MAILS = """
    insert into mailbox (key, "to", subject, message)
    select e.key, l.email, 'Your enquiry', jsonb_build_object('to', l.email, 'subject', 'Your enquiry', 'text',
           'Dear ' || l.full_name || repeat(', thank you for writing to us about an offer', 20))
    from effects e join leads l using (case_id) where e.operation = 'send_mail' and case_id between :first and :last"""
_TASKS = """
    insert into crm_tasks (key, contact_key, properties)
    select 'task/' || case_id, contact_id::text, jsonb_build_object('subject', 'Call ' || full_name, 'body',
           email || ' ' || phone || repeat(' would like to be called about an offer.', 10))
    from leads where case_id between :first and :last"""
_BLOCKS = """
    insert into contact_blocks (block, contact_id)
    select hashtextextended(id::text, n), id from directory_contacts, generate_series(1, 6) as n"""
_NAMED = """
    with others as (
        select id, delivery_id from cases
        where workflow = 'lead_to_client' and state = 'finished' and not id = any(:cases)
        order by hashint8(id) limit :number
    ), written as (
        update leads set message = 'My colleague ' || :email || ' knows.' where case_id in (select id from others)
    )
    update deliveries set body = convert_to(jsonb_build_object('message', 'Ask ' || :email)::text, 'UTF8')
    where id in (select delivery_id from others)"""


@dataclass
class Took:
    """How long one thing took, in seconds.

    :param cpu: of these, for which its connection's process kept a core busy; the others it read, or waited for a core.
    :param longest: the longest statement of it.
    :param waits: how long somebody else's short transactions took meanwhile.
    :param result: what came of it, in words.
    """

    name: str
    seconds: float = 0.0
    cpu: float = 0.0
    longest: float = 0.0
    waits: list[float] = field(default_factory=list)
    result: str = ""


@dataclass(frozen=True)
class Figures:
    """What was measured, and how much there was to be looked through.

    :param left: rows that still name the person after the erasure; there must be none.
    """

    gigabytes: float
    rows: int
    took: list[Took]
    left: int


def run(engine: Engine, cases: int) -> Figures:
    """Export a person, count what an erasure would do, and erase them; it is one whose lead came last."""
    with engine.connect() as connection:
        newest = connection.execute(
            text("select max(id) from cases where workflow = 'lead_to_client' and state = 'finished'")
        ).scalar_one()
        person = by_case(connection, newest)
    _fill(engine, person, cases)
    with engine.connect() as connection:
        read = tables(connection)
        rows = sum(connection.execute(text(f'select count(*) from "{table.name}"')).scalar_one() for table in read)
    with tempfile.TemporaryDirectory(prefix="waybill-bench-") as folder:
        os.environ["WAYBILL_EXPORT_FOLDER"] = folder
        took = [
            _measure(
                engine,
                "export",
                lambda connection: f"{export_to_file(connection, person, BuiltinCrm(engine)).rows} rows",
            ),
            _measure(engine, "dry run", lambda connection: f"{plan(connection, person).values} values"),
            _measure(engine, "erasure", lambda connection: _erase(connection, person)),
        ]
    return Figures(sum(table.size for table in read) / 1e9, rows, took, _left(engine, person))


def _erase(connection: Connection, person: Person) -> str:
    done = erase(connection, person, actor=ACTOR, reason="benchmark", mode=Mode.CAPTURE)
    return f"{sum(count.values for count in done.counts)} values"


def _fill(engine: Engine, person: Person, cases: int) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("set session_replication_role = replica"))
        connection.execute(text(_BLOCKS))
        for first in range(1, cases + 1, BATCH):
            for statement in (_MAILS, _TASKS):
                connection.execute(text(statement), {"first": first, "last": first + BATCH - 1})
        connection.execute(text(_NAMED), {"cases": list(person.cases), "email": person.emails[0], "number": NAMED_BY})
        connection.execute(text("set session_replication_role = origin"))
        connection.execute(text("vacuum analyze"))


def _measure(engine: Engine, name: str, action: Callable[[Connection], str]) -> Took:
    took = Took(name)
    with _somebody_works(engine, took.waits), _longest(engine, took):
        begun = time.monotonic()
        with authored(engine, actor=ACTOR) as connection:
            process = psutil.Process(connection.execute(text("select pg_backend_pid()")).scalar_one())
            before = _cpu(process)
            took.result = action(connection)
        took.seconds, took.cpu = time.monotonic() - begun, _cpu(process) - before
    return took


def _cpu(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


@contextmanager
def _longest(engine: Engine, took: Took) -> Iterator[None]:
    """Keep the time of the longest statement of this thread."""
    thread, begun = threading.get_ident(), [0.0]

    def before(*_: Any) -> None:
        if threading.get_ident() == thread:
            begun[0] = time.monotonic()

    def after(*_: Any) -> None:
        if threading.get_ident() == thread:
            took.longest = max(took.longest, time.monotonic() - begun[0])

    event.listen(engine, "before_cursor_execute", before)
    event.listen(engine, "after_cursor_execute", after)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", before)
        event.remove(engine, "after_cursor_execute", after)


@contextmanager
def _somebody_works(engine: Engine, waits: list[float]) -> Iterator[None]:
    """Hold the directory and touch a case many times a second, and keep how long each time took."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(PAUSE):
            begun = time.monotonic()
            with authored(engine, actor=ACTOR) as connection:
                directory.lock(connection)
                connection.execute(text("update cases set updated_at = now() where id = 1"))
            waits.append(time.monotonic() - begun)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _left(engine: Engine, person: Person) -> int:
    left = 0
    with engine.begin() as connection:
        connection.execute(text("set local bytea_output = 'escape'"))
        for name in inventory().holds:
            if name != "suppressions":
                where = "strpos(lower(t::text), :address) > 0"
                query = text(f'select count(*) from "{name}" t where {where}')
                left += connection.execute(query, {"address": person.emails[0]}).scalar_one()
    return left


def table(figures: Figures) -> str:
    """Return what was measured as a table."""
    lines = [
        f"{figures.rows:,} rows ({figures.gigabytes:.1f} GB) can mention somebody. "
        f"After the erasure {figures.left} name the person.\n",
        "| a person's | seconds | CPU s | longest statement s | others meanwhile: median ms | longest ms | |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for took in figures.took:
        median, longest = (1000 * value for value in (statistics.median(took.waits), max(took.waits)))
        clock = f"{took.seconds:.1f} | {took.cpu:.1f} | {took.longest:.2f}"
        lines.append(f"| {took.name} | {clock} | {median:.0f} | {longest:.0f} | {took.result} |")
    return "\n".join(lines)
