"""What it costs to watch when nothing happens: seconds of CPU a minute of all processes of an idle Waybill.

A Waybill of its own, in which parts of the watching are paused one after another, so that the same Airflow is measured
with and without them; it takes no work meanwhile. Run it with `python -m benchmarks watching`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

from include.runtime.supervision import Supervisor
from tests.support.stack import Waybill, start_waybill, stop_waybill

MINUTES = 5
"""For each line of the result: as long as it takes until everything that watches has had its turn."""
AIM = 1.0
"""Seconds of CPU a minute, beyond Airflow's own."""
WATCHING = ("waybill_alerts", "waybill_approvals", "waybill_canary")
"""The DAGs that watch, or carry a trigger that does."""
USUAL_IDLE_SLEEP = {"AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1"}
"""As `make up` has it; the stack of the tests is calmer."""


@dataclass(frozen=True)
class Row:
    """One state of the system.

    :param what: what watches in it.
    :param minutes: of each minute, group of processes -> seconds of CPU.
    :param tasks: tasks that ran, a minute.
    """

    what: str
    minutes: Sequence[Mapping[str, float]]
    tasks: float

    def cpu(self, group: str) -> float:
        """Of one group, the mean of the minutes: not each has a task in it."""
        return statistics.mean(minute[group] for minute in self.minutes)

    @property
    def sums(self) -> list[float]:
        """Of all groups together, each minute."""
        return [sum(minute.values()) for minute in self.minutes]

    @property
    def all(self) -> float:
        """Of all groups together, the mean of the minutes."""
        return statistics.mean(self.sums)

    @property
    def spread(self) -> float:
        """By how much the minutes differ."""
        return max(self.sums) - min(self.sums)


def run(minutes: int = MINUTES) -> list[Row]:
    """Start a Waybill, and measure it with all that watches, with parts of it, and with none."""
    waybill = start_waybill(**USUAL_IDLE_SLEEP)
    try:
        _settle(waybill)
        dags = [dag["dag_id"] for dag in _all(waybill, "dags", "dags")]
        pending = [dag for dag in dags if dag not in WATCHING]
        rows = [_measure(waybill, "everything", minutes)]
        for what, paused in (
            ("without all that watches", WATCHING),
            ("no DAG is on: Airflow's own", pending),
        ):
            for dag in paused:
                _pause(waybill, dag)
            waybill.wait_until(lambda: not _running(waybill))
            rows.append(_measure(waybill, what, minutes))
        return rows
    finally:
        stop_waybill(waybill)


def _settle(waybill: Waybill) -> None:
    """Wait until what a start brings is over: tasks and watchdog have looked, and their libraries are loaded."""
    for dag in ("waybill_alerts", "waybill_approvals"):
        waybill.finish(dag, waybill.trigger(dag), seconds=600)
    waybill.wait_until(lambda: not [run for run in _running(waybill) if run["dag_id"] not in WATCHING], seconds=600)


def _measure(waybill: Waybill, what: str, minutes: int) -> Row:
    time.sleep(10)  # what was paused a moment ago ends
    tasks, taken = _tasks(waybill), []
    for _ in range(minutes):
        before, began = _cpu(waybill), time.monotonic()
        time.sleep(60)
        after, passed = _cpu(waybill), (time.monotonic() - began) / 60
        taken.append({group: (after[group] - before[group]) / passed for group in after})
    return Row(what, taken, (_tasks(waybill) - tasks) / minutes)


def _cpu(waybill: Waybill) -> dict[str, float]:
    """Seconds of CPU that each program of the supervisor has taken so far, with all its children, ended ones too."""
    taken = {}
    for name, state in Supervisor(waybill.home).states().items():
        program = psutil.Process(state["pid"])
        taken[name] = 0.0
        for process in (program, *program.children(recursive=True)):
            with suppress(psutil.Error):
                times = process.cpu_times()
                taken[name] += times.user + times.system + times.children_user + times.children_system
    return taken


def _pause(waybill: Waybill, dag_id: str) -> None:
    waybill.api.patch(f"/api/v2/dags/{dag_id}", json={"is_paused": True}).raise_for_status()


def _tasks(waybill: Waybill) -> int:
    path = "/api/v2/dags/~/dagRuns/~/taskInstances"
    answer = waybill.api.get(path, params={"state": ["success", "failed"], "limit": 1})
    total: int = answer.raise_for_status().json()["total_entries"]
    return total


def _running(waybill: Waybill) -> list[dict[str, str]]:
    return _all(waybill, "dags/~/dagRuns", "dag_runs", state=["running", "queued"])


def _all(waybill: Waybill, path: str, name: str, **params: list[str]) -> list[dict[str, str]]:
    answer = waybill.api.get(f"/api/v2/{path}", params={**params, "limit": 100})
    found: list[dict[str, str]] = answer.raise_for_status().json()[name]
    return found


def table(rows: list[Row]) -> str:
    """Return what was measured as a table."""
    groups = list(rows[0].minutes[0])
    own = rows[-1]
    lines = [
        f"| watching | {' | '.join(groups)} | all | beyond Airflow's own | differs by | tasks a minute |",
        f"|---|{'---:|' * (len(groups) + 4)}",
    ]
    for row in rows:
        each = " | ".join(f"{row.cpu(group):.2f}" for group in groups)
        beyond = row.all - own.all
        lines.append(f"| {row.what} | {each} | {row.all:.2f} | {beyond:.2f} | {row.spread:.2f} | {row.tasks:.1f} |")
    beyond, noise = rows[0].all - own.all, max(rows[0].spread, own.spread)
    verdict = (
        f"not shown, for minutes alike differ by {noise:.2f} s"
        if noise > abs(beyond - AIM)
        else ("met" if beyond <= AIM else "missed")
    )
    return "\n".join([*lines, "", f"Waybill's part: {beyond:.2f} s of CPU a minute (aim {AIM:g} s: {verdict})."])
