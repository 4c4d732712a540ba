"""What `up` and `down` do, in order.

How each part works is in the modules that it calls.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import httpx
import psycopg
from sqlalchemy.exc import SQLAlchemyError

from include.data.database import connect, migrate
from include.environment import calendar_paused, current
from include.integrations.merges import grace
from include.monitoring.watching import wellbeing
from include.monitoring.watching.watch import silent_after
from include.runtime import embedded_postgres, health, tryton
from include.runtime.environment import REPOSITORY, Home, RuntimeProblem, environment, keys
from include.runtime.supervision import (
    POSTGRES,
    Supervisor,
    airflow_programs,
    exclusive,
    postgres_program,
    sweep,
)

Say = Callable[[str], None]
HEALTH_SECONDS = 300.0


def settings(home: Home) -> dict[str, str]:
    """Return the environment of this home's processes."""
    erp = {tryton.CONNECTION: tryton.of_home(home).connection()} if tryton.chosen(home) else {}
    return erp | environment(
        home,
        waybill_url=embedded_postgres.url(home, "waybill"),
        airflow_url=embedded_postgres.url(home, "airflow"),
    )


def needs_embedded_server() -> bool:
    """Return whether any of the two databases is not given from outside."""
    return not (os.environ.get("WAYBILL_DATABASE_URL") and os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"))


def start_database(home: Home, say: Say) -> None:
    """Start the supervisor and the embedded server under it, ready to take connections."""
    supervisor = Supervisor(home)
    programs = [
        *([postgres_program(home)] if needs_embedded_server() else []),
        *([tryton.program(home)] if tryton.chosen(home) else []),
        *airflow_programs(),
    ]
    if not supervisor.alive():
        left = sweep(home)
        if left:
            say(f"Ended {left} processes that a crash had left behind")
        if needs_embedded_server():
            embedded_postgres.stop(home)
            embedded_postgres.prepare(home)
        supervisor.start(programs, settings(home))
    if needs_embedded_server():
        supervisor.ensure_running([POSTGRES])
        embedded_postgres.wait_until_ready(home)


def up(home: Home, say: Say, *, erp: str | None = None) -> None:
    """Bring everything up and wait until it is healthy; what runs already is left alone.

    :param erp: `tryton` for a real ERP beside it, `builtin` for none; as it was before when None.
    :raises RuntimeProblem: with what a person should do.
    """
    _refuse_unusable_settings()
    home.create()
    with exclusive(home):
        supervisor = Supervisor(home)
        names = [program.name for program in airflow_programs()]
        states = supervisor.states()
        tryton.choose(home, erp)
        if tryton.chosen(home):
            tryton.install(say)
        running = bool(states) and states["api-server"]["statename"] == "RUNNING"
        began = datetime.min.replace(tzinfo=UTC) if running else datetime.now(UTC)
        if not running:
            health.refuse_taken_port(home)
        start_database(home, say)
        if not running:
            say("Bringing the databases up to date")
            _migrate(home)
        if tryton.chosen(home):
            tryton.start(home, settings(home)["WAYBILL_DATABASE_URL"], say)
        if not running:
            say("Starting Airflow")
        supervisor.ensure_running(names)
        _wait_for_health(home, supervisor, began)


def _refuse_unusable_settings() -> None:
    """Say of a setting that means nothing before anything starts, and not in the log of every task."""
    for read in (current, calendar_paused, silent_after, grace):
        try:
            read()
        except ValueError as error:
            raise RuntimeProblem(f"{error}.") from error


def database(home: Home, say: Say) -> str:
    """Start the database only, migrated, and return its address."""
    home.create()
    with exclusive(home):
        start_database(home, say)
        address = settings(home)["WAYBILL_DATABASE_URL"]
        _migrate_waybill(address)
    return address


def down(home: Home, say: Say) -> None:
    """Stop everything of this home, whatever state a crash left it in."""
    if not home.path.exists():
        return
    home.run.mkdir(exist_ok=True)
    with exclusive(home):
        Supervisor(home).stop()
        left = sweep(home)
        if left:
            say(f"Ended {left} processes that a crash had left behind")
        embedded_postgres.stop(home)


def _migrate(home: Home) -> None:
    values = settings(home)
    _migrate_waybill(values["WAYBILL_DATABASE_URL"])
    stamp = home.run / "airflow-migrated"
    state = f"{_airflow_version()} {values['AIRFLOW__DATABASE__SQL_ALCHEMY_CONN'].partition('@')[2]}"
    if stamp.exists() and stamp.read_text() == state and _airflow_has_tables(values):
        return
    done = subprocess.run(
        [sys.executable, "-m", "airflow", "db", "migrate"],
        env=values, cwd=REPOSITORY, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeProblem(f"Airflow could not migrate its database:\n{(done.stderr or done.stdout)[-2000:]}")
    stamp.write_text(state)


def _migrate_waybill(address: str) -> None:
    try:
        migrate(address)
    except SQLAlchemyError as error:
        raise RuntimeProblem(f"Waybill's database could not be brought up to date: {str(error)[:1500]}") from error


def _airflow_version() -> str:
    return version("apache-airflow")


def _airflow_has_tables(values: dict[str, str]) -> bool:
    """Return whether the database is the one that the stamp speaks of, and not a new one in its place."""
    plain = "postgresql" + values["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"][len("postgresql+psycopg2") :]
    with psycopg.connect(plain) as connection:
        row = connection.execute("select to_regclass('public.alembic_version')").fetchone()
    return row is not None and row[0] is not None


def dag_files() -> set[str]:
    """Return the files of DAGs that Airflow must have read."""
    folder = Path(os.environ.get("AIRFLOW__CORE__DAGS_FOLDER") or REPOSITORY / "dags")
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if path.name != "__init__.py" and "dag" in path.read_text(errors="replace")
    }


def _wait_for_health(home: Home, supervisor: Supervisor, began: datetime) -> None:
    """Wait for health and for the DAGs; what was wrong with a DAG before `began` may have been mended since."""
    deadline = time.monotonic() + HEALTH_SECONDS
    password = admin_password(home)
    missing: set[str] | str = "the API server"
    warm = False
    while time.monotonic() < deadline:
        _refuse_dead_program(home, supervisor)
        states = supervisor.states()
        found = health.health(
            home,
            {
                name.replace("-", "_"): info["start"]
                for name, info in states.items()
                if name not in (POSTGRES, tryton.PROGRAM, "api-server")
            },
        )
        if found and not warm:
            health.warm(home)
            warm = True
        if health.is_healthy(found):
            try:
                with health.client(home, password) as api:
                    missing = dag_files() - health.parsed_files(api)
                    _refuse_broken_dags(api, began)
            except httpx.HTTPError as error:
                missing = str(error)
            if not missing:
                return
        else:
            late = sorted(name for name, state in found.items() if state in ("unhealthy", "starting"))
            missing = ", ".join(late) or missing
        time.sleep(0.3)
    raise RuntimeProblem(
        f"Airflow was not ready within {HEALTH_SECONDS:.0f} s; still missing: {missing}. Its logs are in {home.logs}."
    )


def _refuse_broken_dags(api: httpx.Client, began: datetime) -> None:
    errors = [
        error
        for error in health.import_errors(api)
        if datetime.fromisoformat(error["timestamp"].replace("Z", "+00:00")) >= began
    ]
    if errors:
        first = errors[0]
        raise RuntimeProblem(f"Airflow cannot read {first['filename']}:\n{first['stack_trace'].strip()[-1500:]}")


def _refuse_dead_program(home: Home, supervisor: Supervisor) -> None:
    for name, info in supervisor.states().items():
        if info["statename"] == "FATAL":
            log = Path(home.logs / f"{name}.log")
            tail = log.read_text(errors="replace")[-1500:] if log.exists() else ""
            raise RuntimeProblem(f"The {name} does not stay up. The end of {log}:\n{tail}")


def unwell(home: Home) -> list[str]:
    """Return what is wrong with this home's alerts; a failure that nobody hears of is the worst one."""
    engine = connect(settings(home)["WAYBILL_DATABASE_URL"])
    started = Supervisor(home).states()["scheduler"]["start"]
    try:
        with engine.connect() as connection:
            return wellbeing.unwell(connection, since=datetime.fromtimestamp(started, UTC))
    except SQLAlchemyError as error:
        return [f"Waybill's database cannot be asked: {type(error).__name__}."]
    finally:
        engine.dispose()


def admin_password(home: Home) -> str:
    """Return the password of the UI's user."""
    return os.environ.get("WAYBILL_ADMIN_PASSWORD") or keys(home)["WAYBILL_ADMIN_PASSWORD"]


def people_password(home: Home) -> str:
    """Return the password that all of the people of people.yaml have on this machine."""
    return keys(home)["WAYBILL_PEOPLE_PASSWORD"]
