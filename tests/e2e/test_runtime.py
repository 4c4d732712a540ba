"""The runtime as a person uses it: its commands, against processes that are killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from include.runtime import embedded_postgres, health
from include.runtime.environment import REPOSITORY, Home
from include.runtime.supervision import Supervisor, leftovers

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def home() -> Iterator[Home]:
    """A home for all of these tests, with what each leaves in it: whatever starts must cope with that.

    It is outside pytest's folder, which other sessions of pytest close to PostgreSQL's user.
    """
    folder = Path(tempfile.mkdtemp(prefix="waybill-runtime-"))
    yield Home(folder / "home", free_port())
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def new(home: Home) -> None:
    """Let the home be one in which nothing was ever started."""
    shutil.rmtree(home.path, ignore_errors=True)


@pytest.fixture
def run(home: Home) -> Iterator[Run]:
    """Run a command of the runtime on the home, and stop everything at the end."""

    def command(*words: str, expect: int | None = 0) -> subprocess.CompletedProcess[str]:
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("WAYBILL_", "AIRFLOW"))}
        values = {**clean, "WAYBILL_HOME": str(home.path), "WAYBILL_PORT": str(home.port)}
        done = subprocess.run(
            [sys.executable, "-m", "include.runtime", *words],
            env=values, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=400,
        )  # fmt: skip
        assert expect in (None, done.returncode), done.stdout + done.stderr
        return done

    yield command
    command("down")


def eventually(check: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def test_the_data_is_there_again_after_a_stop(run: Run, home: Home) -> None:
    url = run("database").stdout.strip()
    with psycopg.connect(url) as connection:
        connection.execute("create table kept as select 42 as answer")
    run("down")
    assert not answers(url)
    assert embedded_postgres.running(home) is None
    assert run("database").stdout.strip() == url
    with psycopg.connect(url) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)


def test_a_killed_postgres_comes_back_by_itself(run: Run, home: Home) -> None:
    url = run("database").stdout.strip()
    killed = embedded_postgres.running(home)
    assert killed is not None
    killed.send_signal(signal.SIGKILL)
    killed.wait(10)
    eventually(lambda: answers(url))
    again = embedded_postgres.running(home)
    assert again is not None
    assert again.pid != killed.pid


def test_what_a_killed_supervisor_left_behind_is_taken_over(run: Run, home: Home) -> None:
    url = run("database").stdout.strip()
    supervisor = psutil.Process(int((home.run / "supervisord.pid").read_text()))
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait(10)
    assert answers(url)
    run("database")
    assert Supervisor(home).states()["postgres"]["statename"] in ("RUNNING", "STARTING")
    assert answers(url)


def test_down_after_a_crash_stops_everything(run: Run, home: Home) -> None:
    url = run("database").stdout.strip()
    supervisor = psutil.Process(int((home.run / "supervisord.pid").read_text()))
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait(10)
    run("down")
    assert not answers(url)
    assert embedded_postgres.running(home) is None
    assert leftovers(home) == []


def test_a_stale_process_number_of_another_program_does_not_stop_postgres(run: Run, home: Home) -> None:
    run("database")
    run("down")
    lock = home.postgres / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{home.postgres}\n0\n5432\n{home.postgres}\n\n0 0\nready\n")
    assert answers(run("database").stdout.strip())


@pytest.mark.usefixtures("new")
def test_a_data_directory_that_was_cut_short_is_made_anew(run: Run, home: Home) -> None:
    (home.postgres / "base").mkdir(parents=True)
    assert answers(run("database").stdout.strip())


def test_a_taken_port_is_a_message_and_not_a_trace(run: Run, home: Home) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", home.port))
        taken.listen()
        done = run("up", expect=1)
    assert f"Port {home.port} is taken" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("new")
def test_down_without_anything_to_stop_is_fine(run: Run) -> None:
    assert "stopped" in run("down").stdout


def test_every_command_explains_itself() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "include.runtime", "--help"], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    for command in ("up", "down", "demo", "status", "logs", "database"):
        assert command in done.stdout


@pytest.mark.slow
@pytest.mark.airflow
@pytest.mark.timeout(1500)
@pytest.mark.usefixtures("new")
def test_the_demo_ends_with_balanced_books_and_everything_heals_and_stops(run: Run, home: Home) -> None:
    done = run("demo", "--seconds", "240")
    assert "They balance" in done.stdout
    assert "reports_daily: success" in done.stdout
    assert (home.path / "exports" / "reports" / "preview" / "leads" / "daily").is_dir()
    assert all(f"{home.url}/waybill/{page}" in done.stdout for page in ("board", "quarantine", "reports", "health"))
    assert home.url in done.stdout
    assert health.is_healthy(health.health(home))

    states = Supervisor(home).states()
    for name in ("scheduler", "triggerer", "postgres"):
        os.kill(states[name]["pid"], signal.SIGKILL)
    eventually(
        lambda: all(
            Supervisor(home).states()[name]["statename"] == "RUNNING"
            and Supervisor(home).states()[name]["pid"] != states[name]["pid"]
            for name in ("scheduler", "triggerer", "postgres")
        ),
        120,
    )
    run("up")
    # On a busy machine the new triggerer may give its first sign after the last one of the old has grown too old.
    eventually(lambda: run("status", expect=None).returncode == 0, 120)
    run("down")
    assert health.health(home) == {}
    assert leftovers(home) == []
    assert embedded_postgres.running(home) is None
