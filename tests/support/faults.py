"""Faults at a moment that a test chooses: a step is held inside the database, and its process is killed there.

A trigger waits for an advisory lock that the test has; nothing of it is part of the product.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
from psycopg.errors import DeadlockDetected
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, OperationalError

from include.runtime.supervision import Supervisor
from tests.support.stack import Waybill

TABLES = ("crm_contacts", "crm_tasks", "mailbox")
INSTALL = """
    create or replace function held() returns trigger language plpgsql as $$
    begin
        perform pg_advisory_xact_lock_shared(
            hashtext('held ' || coalesce(tg_argv[0], current_setting('waybill.step', true), '')));
        return new;
    end $$;
    create or replace trigger held before insert on events
        for each row when (new.kind in ('claimed', 'advanced', 'finished')) execute function held();
    create or replace trigger held before update of answer on effects
        for each row when (new.case_id is not null) execute function held('recording');
""" + "".join(
    f"create or replace trigger held before insert on {table} for each statement execute function held('{table}');"
    for table in TABLES
)  # fmt: skip
WAITS = """
    select exists (select from pg_locks where locktype = 'advisory' and mode = 'ShareLock' and not granted
                   and (classid::bigint << 32) | objid::bigint = hashtext('held ' || :place)::bigint)"""


class Holds:
    """Places where whoever comes by is held.

    A step's name: its work is done, and not committed. One of `TABLES`: a built-in system is taking effects.
    `recording`: a system has taken effects, and the ledger does not know it yet.
    """

    def __init__(self, waybill: Waybill, connection: Connection) -> None:
        self.waybill = waybill
        self.connection = connection

    def hold(self, *places: str) -> None:
        """Hold everybody at `places` from now on."""
        for place in places:
            self.connection.execute(text("select pg_advisory_lock(hashtext('held ' || :place))"), {"place": place})

    def release(self, *places: str) -> None:
        """Let those at `places` go on."""
        for place in places:
            self.connection.execute(text("select pg_advisory_unlock(hashtext('held ' || :place))"), {"place": place})

    def wait(self, place: str, seconds: float = 90) -> None:
        """Wait until somebody is held at `place`."""
        self.waybill.wait_until(lambda: self.waybill.one(WAITS, place=place), seconds, 0.05)

    def kill_at(self, place: str, task: str = "", dag_id: str = "lead_to_client") -> None:
        """Kill the process of the task that is held at `place` with SIGKILL, and open the place."""
        self.wait(place)
        kill_task(self.waybill, task or place, dag_id)
        self.release(place)
        expire_sending(self.waybill)


@contextmanager
def holds(waybill: Waybill) -> Iterator[Holds]:
    """Make places where steps can be held; all are open again at the end."""
    with waybill.engine.begin() as connection:
        connection.exec_driver_sql(INSTALL)
    with waybill.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        try:
            yield Holds(waybill, connection)
        finally:
            try:
                connection.execute(text("select pg_advisory_unlock_all()"))
            except DBAPIError:
                connection.invalidate()  # the server was killed, and its locks are gone with it


def running_tasks(waybill: Waybill, dag_id: str = "lead_to_client") -> list[dict[str, Any]]:
    """Return the task instances that Airflow says are running."""
    answer = waybill.api.get(f"/api/v2/dags/{dag_id}/dagRuns/~/taskInstances", params={"state": "running"})
    found: list[dict[str, Any]] = answer.raise_for_status().json()["task_instances"]
    return found


def kill_task(waybill: Waybill, task: str, dag_id: str = "lead_to_client") -> None:
    """Kill the process of a running task: it has no time to say anything."""
    running = {one["task_id"]: one["id"] for one in running_tasks(waybill, dag_id)}
    assert task in running, f"{task} is held, yet these are running: {sorted(running)}"
    title = f"airflow worker -- {running[task]}"
    (process,) = [one for one in psutil.process_iter() if title in " ".join(_command(one))]
    process.kill()


def kill_program(waybill: Waybill, name: str) -> None:
    """Kill a program with SIGKILL, and wait until the supervisor has started it again."""
    supervisor = Supervisor(waybill.home)
    pid = supervisor.states()[name]["pid"]
    os.kill(pid, signal.SIGKILL)
    waybill.wait_until(
        lambda: (state := supervisor.states().get(name)) and state["statename"] == "RUNNING" and state["pid"] != pid, 90
    )


def expire_sending(waybill: Waybill) -> None:
    """Let the two minutes pass for which a dead sender's effects are left alone."""
    while True:
        try:
            with waybill.engine.begin() as connection:
                connection.execute(text("update effects set lease_until = now() where state = 'sending'"))
        except OperationalError as error:
            # whoever records outcomes at this moment locks the same rows in another order
            if not isinstance(error.orig, DeadlockDetected):
                raise
        else:
            return


def eventually(check: Callable[[], Any]) -> Callable[[], Any]:
    """Return `check` as one that answers None while the database is away."""

    def quiet() -> Any:
        try:
            return check()
        except DBAPIError:
            return None

    return quiet


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
