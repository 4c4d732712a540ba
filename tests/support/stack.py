"""A whole Waybill of its own: PostgreSQL, Airflow and the intake, started as a person starts them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import Engine, text

from include.data.database import connect
from include.intake.sender import Sender, parcel
from include.runtime import health, local
from include.runtime.environment import Home
from include.runtime.supervision import leftovers
from tests.support.folders import temporary_folder

ROOT = Path(__file__).parents[2]
CALM = {"AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.25", "WAYBILL_PAUSE_CALENDAR": "true"}
"""Two Waybills share two cores in a run of all tests: an idle one leaves more to the other, for a little latency, and
begins without the last day's work of every DAG."""


LONGEST_PAUSE = 0.6
"""Seconds."""


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Waybill:
    """A running Waybill, as its users and its operators see it."""

    home: Home
    environment: Mapping[str, str]
    engine: Engine = field(init=False)
    api: httpx.Client = field(init=False)

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `python -m include.runtime ...` as a person would."""
        return subprocess.run(
            [sys.executable, "-m", "include.runtime", *arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=check,
            timeout=300,
        )

    def up(self) -> None:
        """Start it, and connect to it."""
        started = self.command("up", check=False)
        assert started.returncode == 0, started.stdout + started.stderr
        self.settings = local.settings(self.home)
        self.engine = connect(self.settings["WAYBILL_DATABASE_URL"])
        self.api = health.client(self.home, local.admin_password(self.home))

    def send(self, bodies: list[dict[str, Any]], source: str = "website", ids: list[str] | None = None) -> list[Any]:
        """Post the bodies as signed webhooks; return the answers."""
        name = source.upper().replace("-", "_")
        secret = self.settings[f"WAYBILL_SECRET_{name}"]
        sender = Sender(f"{self.home.url}/intake", source, secret)
        parcels = [parcel(body, ids[place] if ids else None) for place, body in enumerate(bodies)]
        return list(asyncio.run(sender.send(parcels)))

    def settled(self, workflow: str = "lead_to_client") -> bool:
        """Tell whether no case is in progress."""
        return not self.rows(
            "select 1 from cases where workflow = :workflow and state in ('pending', 'running') limit 1",
            workflow=workflow,
        )

    def wait_until(self, what: Callable[[], Any], seconds: float = 120, every: float = 0.2) -> Any:
        """Return the first truthy answer of `what`; fail when it stays false.

        :param every: seconds between two looks, which grow longer: an API server that is asked all the time costs much.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if answer := what():
                return answer
            time.sleep(every)
            every = max(every, min(every * 1.2, LONGEST_PAUSE))
        raise AssertionError(f"not within {seconds} s: {what}; cases: {self.standing()}")

    def settle(self, seconds: float = 120) -> None:
        """Wait until every case of every workflow has come to rest."""
        self.wait_until(lambda: self.settled() and self.settled("deal_to_client"), seconds)

    def rows(self, query: str, **values: Any) -> list[dict[str, Any]]:
        """Return the rows of a query."""
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    def one(self, query: str, **values: Any) -> Any:
        """Return the only value of a query."""
        with self.engine.connect() as connection:
            return connection.execute(text(query), values).scalar_one()

    def standing(self) -> list[dict[str, Any]]:
        """Return how many cases stand where."""
        return self.rows("select workflow, state, stage, count(*) from cases group by 1, 2, 3 order by 1, 2, 3")

    def assert_balanced(self) -> None:
        """Fail when a case was lost, in any workflow."""
        assert self.rows("select * from balance where difference <> 0") == []

    def trigger(self, dag_id: str, **params: Any) -> str:
        """Trigger a DAG, unpaused as the UI offers it; return the run's id."""
        self.pause(dag_id, False)
        return self.queue(dag_id, **params)

    def pause(self, dag_id: str, paused: bool = True) -> None:
        """Pause a DAG, or let it go on."""
        answer = self.api.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": paused})
        assert answer.status_code == 200, answer.text

    def queue(self, dag_id: str, **params: Any) -> str:
        """Queue a run of a DAG, which waits as long as the DAG is paused; return the run's id."""
        answer = self.api.post(f"/api/v2/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": params})
        assert answer.status_code == 200, answer.text
        run_id: str = answer.json()["dag_run_id"]
        return run_id

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        state: str = self.api.get(f"/api/v2/dags/{dag_id}/dagRuns/{run_id}").json()["state"]
        return state

    def finish(self, dag_id: str, run_id: str, state: str = "success", seconds: float = 120) -> None:
        """Wait until a run ends, in `state`."""
        self.wait_until(lambda: self.run_state(dag_id, run_id) in ("success", "failed"), seconds)
        assert self.run_state(dag_id, run_id) == state


def start_waybill(**more: str) -> Waybill:
    """Start a Waybill of its own in an empty folder, on a free port."""
    folder = temporary_folder("waybill-e2e-")
    port = free_port()
    own = {"WAYBILL_HOME": str(folder), "WAYBILL_PORT": str(port)}
    waybill = Waybill(Home(folder, port), {**own, **CALM, **more})
    try:
        waybill.up()
    except BaseException:
        stop_waybill(waybill)
        raise
    return waybill


def stop_waybill(waybill: Waybill) -> None:
    """End it at once, and remove its folder; how it stops when it is asked to is a test of its own."""
    if os.environ.get("WAYBILL_KEEP"):
        print(f"kept: {waybill.home.path}")
        return
    if hasattr(waybill, "engine"):
        waybill.engine.dispose()
    supervisor_first = sorted(leftovers(waybill.home), key=lambda process: process.create_time())
    for process in supervisor_first:
        with contextlib.suppress(psutil.Error):
            process.kill()
    waybill.command("down", check=False)
    shutil.rmtree(waybill.home.path, ignore_errors=True)
