"""Where a local Waybill keeps its files, and the environment that its processes run in.

Airflow gets no configuration file: every setting is an environment variable, so one place shows them all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from include.approvals.people import people
from include.intake.sources import secret_variables

REPOSITORY = Path(__file__).resolve().parents[2]
DEFAULT_PORT = 8080
USER = "admin"
VIEWER = "viewer"
"""An account that sees everything and changes nothing."""
WATCHER = "watcher"
"""The same for Waybill itself, whose alerts ask Airflow for files that it cannot read and schedules that it missed."""
NEEDED_DISK = 600 * 2**20  # bytes: a fresh PostgreSQL with Airflow's tables takes 120 MB, and logs need room
LONGEST_SOCKET_PATH = 100  # characters; the kernel's limit is 108 on Linux and 104 on macOS


class RuntimeProblem(RuntimeError):
    """Something that a person must mend; the message says what happened and what to do next."""


@dataclass(frozen=True)
class Home:
    """The folder with everything that a local Waybill writes, and the port it answers on."""

    path: Path
    port: int = DEFAULT_PORT

    @classmethod
    def from_environment(cls) -> Home:
        """Return the home of this checkout: `WAYBILL_HOME` or `.waybill`, on `WAYBILL_PORT` or 8080.

        :raises RuntimeProblem: when `WAYBILL_PORT` is no port.
        """
        raw = os.environ.get("WAYBILL_PORT", "")
        if raw and not (raw.isdecimal() and 0 < int(raw) < 65536):
            raise RuntimeProblem(f"WAYBILL_PORT is {raw!r}: set it to a number from 1 to 65535, or unset it.")
        path = Path(os.environ.get("WAYBILL_HOME") or REPOSITORY / ".waybill")
        return cls(path.expanduser().resolve(), int(raw or DEFAULT_PORT))

    @property
    def postgres(self) -> Path:
        """The data directory of the embedded server."""
        return self.path / "postgres"

    @property
    def airflow(self) -> Path:
        """AIRFLOW_HOME."""
        return self.path / "airflow"

    @property
    def logs(self) -> Path:
        """The logs of the processes; Airflow's task logs are in `airflow/logs`."""
        return self.path / "logs"

    @property
    def imports(self) -> Path:
        """Where people put files that Waybill is to import."""
        return self.path / "imports"

    @property
    def run(self) -> Path:
        """Process ids, locks and generated configuration: may be deleted while nothing runs."""
        return self.path / "run"

    @property
    def sockets(self) -> Path:
        """A folder whose path is short enough for Unix sockets."""
        if len(str(self.postgres)) + len("/.s.PGSQL.5432") <= LONGEST_SOCKET_PATH:
            return self.run
        digest = hashlib.sha256(str(self.path).encode()).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"waybill-{digest}"

    @property
    def url(self) -> str:
        """Where the UI, the API and the intake answer."""
        return f"http://127.0.0.1:{self.port}"

    def create(self) -> None:
        """Make the folders.

        :raises RuntimeProblem: when they cannot be written, or the disk is nearly full.
        """
        try:
            for folder in (self.path, self.airflow, self.logs, self.imports, self.run, self.sockets):
                folder.mkdir(parents=True, exist_ok=True)
            if self.sockets.stat().st_uid != os.geteuid():
                raise RuntimeProblem(f"{self.sockets} belongs to another user: remove it, and try again.")
        except OSError as error:
            raise RuntimeProblem(
                f"Waybill cannot write to {self.path}: {error.strerror}."
                " Make room or set WAYBILL_HOME to another folder."
            ) from error
        free = shutil.disk_usage(self.path).free
        if free < NEEDED_DISK:
            raise RuntimeProblem(
                f"Only {free // 2**20} MB are free for {self.path}, and Waybill needs"
                f" {NEEDED_DISK // 2**20} MB: make room or set WAYBILL_HOME to a folder on another disk."
            )


def write_private(path: Path, text: str) -> None:
    """Replace a file that only its owner may read, whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)  # created with mode 0600
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(name).replace(path)


def keys(home: Home) -> dict[str, str]:
    """Return this home's generated keys as environment variables, making those that are missing.

    A key is made once and kept: with another Fernet key Airflow could not read its own connections.
    """
    path = home.path / "keys.json"
    try:
        kept: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError:
        kept = {}
    except ValueError as error:
        raise RuntimeProblem(f"{path} cannot be read as JSON: restore it from a backup, or `make clean`.") from error
    made = {name: make() for name, make in _makers().items() if name not in kept}
    if made:
        kept |= made
        write_private(path, json.dumps(kept, indent=2) + "\n")
    return kept


def _makers() -> dict[str, Callable[[], str]]:
    return {
        "AIRFLOW__CORE__FERNET_KEY": _fernet_key,
        "AIRFLOW__API__SECRET_KEY": _token,
        "AIRFLOW__API_AUTH__JWT_SECRET": _token,
        "WAYBILL_ADMIN_PASSWORD": _password,
        "WAYBILL_PEOPLE_PASSWORD": _password,
        "WAYBILL_WATCHER_PASSWORD": _password,
        "WAYBILL_TRYTON_PASSWORD": _password,
        "WAYBILL_TRYTON_ADMIN_PASSWORD": _password,
        "WAYBILL_SECRET_KEY": _fernet_key,
        **dict.fromkeys(secret_variables(), _signing_secret),
    }


def _password() -> str:
    return secrets.token_urlsafe(12)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _token() -> str:
    return secrets.token_urlsafe(32)


def _signing_secret() -> str:
    """A secret in the notation of Standard Webhooks, which every other scheme takes as plain text."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode()


def environment(home: Home, *, waybill_url: str, airflow_url: str) -> dict[str, str]:
    """Return the whole environment of the local processes; what is set outside wins over what is set here.

    :param waybill_url: address of Waybill's database, without a driver.
    :param airflow_url: address of Airflow's metadata database, without a driver.
    """
    generated = keys(home)
    password = os.environ.get("WAYBILL_ADMIN_PASSWORD") or generated["WAYBILL_ADMIN_PASSWORD"]
    passwords = home.airflow / "passwords.json"
    watcher = generated["WAYBILL_WATCHER_PASSWORD"]
    accounts = dict.fromkeys([VIEWER, *_accounts()], generated["WAYBILL_PEOPLE_PASSWORD"])
    accounts |= {USER: password, WATCHER: watcher}
    write_private(passwords, json.dumps(accounts) + "\n")
    settings = {
        **{name: value for name, value in generated.items() if not name.endswith("_PASSWORD")},
        "WAYBILL_DATABASE_URL": waybill_url,
        "WAYBILL_ENVIRONMENT": "development",
        "WAYBILL_IMPORT_FOLDER": str(home.imports),
        "AIRFLOW_CONN_WAYBILL_AIRFLOW": json.dumps(
            {"conn_type": "http", "host": home.url, "login": WATCHER, "password": watcher}
        ),
        **_airflow_settings(home, airflow_url, passwords),
    }
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not (name.startswith("AIRFLOW__") and not value) and name not in FIXED
    }
    return settings | inherited | _fixed(home)


# What a local Waybill cannot let the outside decide, or `make down` would not find what `make up` started.
FIXED = ("AIRFLOW_HOME", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONHOME", "WAYBILL_ADMIN_PASSWORD", "WAYBILL_PRELOAD")


def _accounts() -> list[str]:
    """The accounts of the people who approve, so that each can be tried; a deployment has its own users."""
    return sorted(person.airflow for person in people().by_id.values() if person.airflow and person.airflow != USER)


def _fixed(home: Home) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home.airflow),
        "WAYBILL_HOME": str(home.path),
        "WAYBILL_PORT": str(home.port),
        "WAYBILL_BASE_URL": os.environ.get("WAYBILL_BASE_URL") or home.url,
        "PYTHONPATH": os.pathsep.join(
            str(REPOSITORY / part) for part in (".", "plugins", "include/runtime/airflow_config")
        ),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        # Without it, setproctitle overwrites a process's environment, by which `make down` knows its own.
        "SPT_NOENV": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }


def _airflow_settings(home: Home, airflow_url: str, passwords: Path) -> dict[str, str]:
    sync_url, async_url = _drivers(airflow_url)
    return {
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__PARALLELISM": str(max(6, min(16, 2 * (os.cpu_count() or 2)))),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        # In safe mode Airflow passes over a file, without a word, that does not happen to say both "dag" and "airflow".
        "AIRFLOW__CORE__DAG_DISCOVERY_SAFE_MODE": "False",
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        # The first reading of a file on a busy laptop, in s.
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "120",
        # What people type into forms and answers stays out of Airflow's audit log, which nobody can erase from.
        "AIRFLOW__CORE__SENSITIVE_VAR_CONN_NAMES": "conf,params_input",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{home.url}/execution/",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(
            [f"{USER}:admin", f"{VIEWER}:viewer", f"{WATCHER}:user", *(f"{account}:user" for account in _accounts())]
        ),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": sync_url,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": async_url,
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(home.port),
        "AIRFLOW__API__BASE_URL": home.url,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API__INSTANCE_NAME": "Waybill",
        # The time between two looks of an idle scheduler is paid once per task of a chain.
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        # An edited DAG file is read at once; the interval is for the others, and reading all of them again takes half a
        # minute of a core.
        "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
        "AIRFLOW__DAG_PROCESSOR__STALE_DAG_THRESHOLD": "120",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "20",
        "AIRFLOW__DAG_PROCESSOR__PARSING_PROCESSES": "1",
        # Triggers of a triggerer that died are taken over after this long, in s; until then no lead is noticed.
        # The sign of one that lives may be 13 s old after a start, and older on a busy machine.
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "25",
        # What a scheduler that died had queued or running is looked after in minutes, not in five or more, in s.
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60",
        # A task's supervisor that misses the moment its child exits holds the worker for this long, in s.
        "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "GX_ANALYTICS_ENABLED": "false",
        "SCARF_ANALYTICS": "false",
    }


def _drivers(url: str) -> tuple[str, str]:
    """The same address for Airflow's two drivers."""
    scheme, _, rest = url.partition("://")
    plain = scheme.partition("+")[0]
    return f"{plain}+psycopg2://{rest}", f"{plain}+asyncpg://{rest}"


def socket_url(folder: Path, database: str) -> str:
    """Return the address of a database that answers on a Unix socket in `folder`."""
    return f"postgresql://postgres@/{database}?host={quote(str(folder), safe='/')}"
