"""Starts, watches and stops the processes of a local Waybill with supervisord.

What each process is, is said in one list; a process that dies is started again by supervisord.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from include.runtime import embedded_postgres
from include.runtime.environment import REPOSITORY, Home, RuntimeProblem

POSTGRES = "postgres"


@dataclass(frozen=True)
class Program:
    """One process that is kept alive."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: str = "TERM"
    stop_seconds: int = 15
    priority: int = 100


def airflow_programs() -> list[Program]:
    """Return Airflow's processes; the API server carries the intake and the ops pages."""
    airflow = [sys.executable, "-m", "airflow"]
    preload = os.environ.get("WAYBILL_PRELOAD", "1")
    return [
        Program("api-server", [*airflow, "api-server"], priority=10),
        # Tasks are forked from the scheduler, so it is the one to load heavy libraries.
        Program("scheduler", [*airflow, "scheduler", "--skip-serve-logs"], {"WAYBILL_PRELOAD": preload}),
        # DAG files are read in forks of the processor, each file in one.
        Program("dag-processor", [*airflow, "dag-processor"], {"WAYBILL_PRELOAD": preload}),
        Program("triggerer", [*airflow, "triggerer", "--skip-serve-logs"]),
    ]


def postgres_program(home: Home) -> Program:
    """Return the embedded server as a program of the supervisor."""
    return Program(
        POSTGRES,
        embedded_postgres.command(home),
        user=embedded_postgres.system_user(),
        stop_signal="INT",
        stop_seconds=30,
        priority=1,
    )


def configuration(home: Home, programs: list[Program]) -> str:
    """Return supervisord's configuration; keys and addresses are not in it, but in the environment."""
    lines = [
        "; Written by include/runtime/supervision.py on each start.",
        "[unix_http_server]",
        f"file={_socket(home)}",
        "chmod=0700",
        "[supervisord]",
        f"logfile={home.logs / 'supervisord.log'}",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        f"pidfile={_pidfile(home)}",
        f"directory={REPOSITORY}",
        "minfds=1024",
        *(["user=root"] if os.geteuid() == 0 else []),
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for program in programs:
        variables = ",".join(f'{name}="{value}"' for name, value in program.environment.items())
        lines += [
            f"[program:{program.name}]",
            f"command={shlex.join(program.command).replace('%', '%%')}",
            f"priority={program.priority}",
            "autostart=false",
            "autorestart=true",
            "startsecs=2",
            # Long enough for PostgreSQL's last children to leave after the server itself was killed.
            "startretries=20",
            f"stopsignal={program.stop_signal}",
            f"stopwaitsecs={program.stop_seconds}",
            # PostgreSQL's children must be left to their parent; Airflow's must not outlive theirs.
            f"killasgroup={'false' if program.name == POSTGRES else 'true'}",
            f"stdout_logfile={home.logs / program.name}.log",
            "redirect_stderr=true",
            "stdout_logfile_maxbytes=10MB",
            "stdout_logfile_backups=1",
            *([f"user={program.user}"] if program.user else []),
            *([f"environment={variables}"] if variables else []),
        ]
    return "\n".join(lines) + "\n"


def _socket(home: Home) -> Path:
    return home.sockets / "supervisor.sock"


def _pidfile(home: Home) -> Path:
    return home.run / "supervisord.pid"


@contextlib.contextmanager
def exclusive(home: Home) -> Iterator[None]:
    """Let one `up` or `down` at a time work on this home; the lock goes when its holder dies.

    :raises RuntimeProblem: when another one holds it for more than five minutes.
    """
    with (home.run / "lock").open("a") as file:
        deadline = time.monotonic() + 300
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise RuntimeProblem(
                        f"Another `make up` or `make down` has been at work on {home.path} for five minutes:"
                        " end it first."
                    ) from None
                time.sleep(0.2)
        yield


class Supervisor:
    """The supervisord of one home."""

    def __init__(self, home: Home) -> None:
        self.home = home

    @property
    def _calls(self) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{_socket(self.home)}")
        return xmlrpc.client.ServerProxy("http://127.0.0.1", transport).supervisor

    def alive(self) -> bool:
        """Return whether it answers."""
        try:
            return bool(self._calls.getState()["statecode"] >= 0)
        except (OSError, xmlrpc.client.Error, IndexError):
            return False

    def start(self, programs: list[Program], environment: Mapping[str, str]) -> None:
        """Start supervisord, with no program running yet, unless it runs.

        :raises RuntimeProblem: when it does not answer.
        """
        if self.alive():
            return
        path = self.home.run / "supervisord.conf"
        path.write_text(configuration(self.home, programs))
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-m", "supervisor.supervisord", "-c", path],
            env=dict(environment), cwd=REPOSITORY, capture_output=True, text=True, check=False,
        )  # fmt: skip
        deadline = time.monotonic() + 15
        while not self.alive():
            if done.returncode or time.monotonic() > deadline:
                raise RuntimeProblem(
                    f"The supervisor did not start: {(done.stderr or done.stdout).strip()[-1000:]}"
                    f" See {self.home.logs / 'supervisord.log'}."
                )
            time.sleep(0.05)

    def states(self) -> dict[str, dict[str, Any]]:
        """Return each program's state as supervisord tells it, by name; empty when supervisord is away."""
        try:
            return {info["name"]: info for info in self._calls.getAllProcessInfo()}
        except (OSError, xmlrpc.client.Error, IndexError):
            return {}

    def ensure_running(self, names: list[str]) -> None:
        """Start those of the named programs that do not run; the others are left alone."""
        for name in names:
            if self.states().get(name, {}).get("statename") not in ("RUNNING", "STARTING", "BACKOFF"):
                with contextlib.suppress(xmlrpc.client.Fault):
                    self._calls.startProcess(name, False)

    def stop(self) -> None:
        """Stop every program, Airflow before its database, and supervisord itself."""
        with contextlib.suppress(OSError, xmlrpc.client.Error, IndexError):
            states = self.states()
            for name in states:
                if name != POSTGRES:
                    self._calls.stopProcess(name, False) if states[name]["statename"] not in ("STOPPED",) else None
            self._wait_for_stop([name for name in states if name != POSTGRES])
            self._calls.shutdown()
        number = _read_number(_pidfile(self.home))
        if number and _is_ours(number, self.home):
            with contextlib.suppress(psutil.Error):
                psutil.Process(number).wait(60)

    def _wait_for_stop(self, names: list[str]) -> None:
        deadline = time.monotonic() + 40
        while time.monotonic() < deadline:
            states = self.states()
            if all(states[name]["statename"] in ("STOPPED", "EXITED", "FATAL") for name in names if name in states):
                return
            time.sleep(0.1)


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):
        return None


def _is_ours(number: int, home: Home) -> bool:
    try:
        return psutil.Process(number).environ().get("WAYBILL_HOME") == str(home.path)
    except psutil.Error:
        return False


def leftovers(home: Home) -> list[psutil.Process]:
    """Return processes of this home that no supervisor looks after any more, found by their environment."""
    mine = {process.pid for process in [psutil.Process(), *psutil.Process().parents()]}
    return [
        process
        for process in psutil.process_iter()
        if process.pid not in mine and _is_airflow(process) and _is_ours(process.pid, home)
    ]


def _is_airflow(process: psutil.Process) -> bool:
    """Tell the runtime's processes from a shell or a test that has the same environment."""
    try:
        words = " ".join(process.cmdline())
    except psutil.Error:
        return False
    return any(name in words for name in ("airflow", "supervisor.supervisord", "multiprocessing", "trytond"))


def end_orphaned_workers(home: Home) -> int:
    """Kill the idle workers of a scheduler that was killed, and return how many; one at a task may finish it.

    They would wait for ever, and keep the scheduler's database connections open: PostgreSQL would not hear that it is
    gone, and the run that it was looking at would stay locked.
    """
    found = [
        process
        for process in psutil.process_iter()
        if _is_idle_worker(process) and _is_ours(process.pid, home) and not _has_scheduler(process)
    ]
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.kill()  # they ignore SIGTERM, as the scheduler's handler for it is not meant for them
    return len(found)


def _is_idle_worker(process: psutil.Process) -> bool:
    try:
        return " ".join(process.cmdline()).startswith("airflow worker -- LocalExecutor: <idle>")
    except psutil.Error:
        return False


def _has_scheduler(process: psutil.Process) -> bool:
    try:
        parent = process.parent()
        return parent is not None and "scheduler" in parent.cmdline()
    except psutil.Error:
        return False


def sweep(home: Home) -> int:
    """End what a crash left behind, and return how many processes that were."""
    found = leftovers(home)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(found, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    return len(found)
