"""What supervisord is told, and how leftovers of a crash are known."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from configparser import RawConfigParser
from pathlib import Path

import psutil
import pytest

from include.runtime import health
from include.runtime.environment import Home, RuntimeProblem
from include.runtime.supervision import (
    Program,
    airflow_programs,
    configuration,
    end_orphaned_workers,
    exclusive,
    leftovers,
    sweep,
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "home")
    found.create()
    return found


def read(text: str) -> RawConfigParser:
    parser = RawConfigParser(inline_comment_prefixes=(";",))
    parser.read_string(text)
    return parser


def test_every_process_of_airflow_is_kept_alive_and_none_outlives_its_parent(home: Home) -> None:
    found = read(configuration(home, airflow_programs()))
    for name in ("api-server", "scheduler", "dag-processor", "triggerer"):
        section = found[f"program:{name}"]
        assert section["autorestart"] == "true"
        assert section["killasgroup"] == "true"
        assert f"airflow {name}" in section["command"]


def test_heavy_libraries_are_loaded_where_tasks_and_readers_of_dags_are_forked_and_nowhere_else() -> None:
    preloading = {p.name: p.environment.get("WAYBILL_PRELOAD") for p in airflow_programs()}
    assert preloading == {"api-server": None, "scheduler": "1", "dag-processor": "1", "triggerer": None}


def test_what_is_loaded_ahead_can_be_imported() -> None:
    code = (
        "import sys; sys.path.insert(0, 'include/runtime/airflow_config')\n"
        "import airflow_local_settings as settings, importlib\n"
        "[importlib.import_module(name) for name in settings.MODULES]\n"
        "for module, _, reader in (place.partition(':') for place in settings.DECLARATIONS):\n"
        "    getattr(importlib.import_module(module), reader)()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_command_with_a_percent_sign_or_a_space_reaches_the_program_unchanged(home: Home) -> None:
    found = read(configuration(home, [Program("odd", ["/a b/c", "100%"])]))
    assert found["program:odd"]["command"] == "'/a b/c' 100%%"


def test_no_key_is_written_into_the_configuration(home: Home) -> None:
    from include.runtime.environment import keys

    text = configuration(home, airflow_programs())
    assert not [name for name, value in keys(home).items() if value in text]


def test_two_commands_at_once_wait_for_each_other_and_a_dead_one_holds_nothing(home: Home) -> None:
    order: list[str] = []

    def second() -> None:
        with exclusive(home):
            order.append("second")

    with exclusive(home):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.3)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_what_a_crash_left_behind_is_found_by_its_environment_and_ended(home: Home, tmp_path: Path) -> None:
    script = "import time; time.sleep(60)  # airflow"
    mine = subprocess.Popen([sys.executable, "-c", script], env={"WAYBILL_HOME": str(home.path)})
    other = subprocess.Popen([sys.executable, "-c", script], env={"WAYBILL_HOME": str(tmp_path / "other")})
    try:
        deadline = time.monotonic() + 5
        while not leftovers(home) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [process.pid for process in leftovers(home)] == [mine.pid]
        assert sweep(home) == 1
        mine.wait(5)
        assert other.poll() is None
    finally:
        for process in (mine, other):
            process.kill()
            process.wait()


def test_a_taken_port_is_named_together_with_the_way_out() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeProblem, match=rf"Port {port} is taken.*WAYBILL_PORT={port + 1} make up"):
            health.refuse_taken_port(Home(Path("/nowhere"), port))


def test_a_free_port_is_fine() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    health.refuse_taken_port(Home(Path("/nowhere"), port))


def test_an_airflow_with_one_sick_part_is_not_healthy() -> None:
    parts = dict.fromkeys(("metadatabase", "scheduler", "dag_processor", "triggerer"), "healthy")
    assert health.is_healthy(parts)
    assert not health.is_healthy(parts | {"triggerer": "unhealthy"})
    assert not health.is_healthy({})


def test_idle_workers_of_a_killed_scheduler_are_ended_and_no_others(home: Home) -> None:
    """Titles as LocalExecutor gives them; the workers ignore SIGTERM, as its workers do."""
    code = (
        "import os, signal, sys, time, setproctitle\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for title in ('<idle>', 'a task'):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        setproctitle.setproctitle(f'airflow worker -- LocalExecutor: {title}')\n"
        "        print(title, os.getpid(), flush=True)\n"
        "        time.sleep(60)\n"
        "        os._exit(0)\n"
        "time.sleep(60)\n"
    )
    values = {**os.environ, "WAYBILL_HOME": str(home.path), "SPT_NOENV": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", code, "scheduler"], env=values, stdout=subprocess.PIPE, text=True
    ) as scheduler:
        assert scheduler.stdout
        said = sorted(scheduler.stdout.readline() for _ in range(2))  # "<idle> 1", "a task 2"
        idle, busy = (psutil.Process(int(line.split()[-1])) for line in said)
        assert end_orphaned_workers(home) == 0, "their scheduler is there"
        scheduler.kill()
        scheduler.wait()
        try:
            assert end_orphaned_workers(home) == 1
            psutil.wait_procs([idle], timeout=5)
            assert not idle.is_running()
            assert busy.is_running()
        finally:
            busy.kill()
