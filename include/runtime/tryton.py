"""A real Tryton beside a local Waybill and in its tests: installed, set up as a company, kept by the supervisor.

It has a virtual environment of its own, for its packages are none of Waybill's, and a database on the same server.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo
from pydantic import SecretStr
from sqlalchemy import Engine

from include.data.database import connect
from include.domain.purchasing import Purchasing, purchasing
from include.integrations.http import HttpClient, HttpSystem, Timeouts
from include.integrations.systems import Json, PendingEffect, Sent
from include.integrations.tryton.client import TrytonClient
from include.integrations.tryton.provider import TrytonErp
from include.integrations.tryton.records import Settings
from include.runtime import embedded_postgres
from include.runtime.environment import REPOSITORY, Home, RuntimeProblem, keys, write_private
from include.runtime.supervision import Program, Supervisor
from include.runtime.tryton_company import set_up
from include.stock.warehouse import warehouse

Say = Callable[[str], None]

REQUIREMENTS = REPOSITORY / "deploy" / "tryton" / "requirements.txt"
MODULES = ("party", "product", "purchase", "stock", "account_invoice", "company", "currency", "country")
LOGIN = "waybill"
CONNECTION = "AIRFLOW_CONN_WAYBILL_ERP"
NEEDED_DISK = 300 * 2**20  # bytes: the packages take 120 MB, and the downloads as much while they are unpacked
START_SECONDS = 60.0
PROGRAM = "tryton"
CHOICES = ("builtin", PROGRAM)


@dataclass(frozen=True)
class Tryton:
    """One Tryton server: where its packages and its configuration are, and which database it serves.

    :param server: address of the PostgreSQL server, without a database, as Tryton writes it.
    """

    folder: Path
    server: str
    database: str
    port: int
    password: SecretStr
    admin_password: SecretStr

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def configuration(self) -> Path:
        """Its configuration file."""
        return self.folder / "trytond.conf"

    def configure(self) -> None:
        """Write the configuration: this machine only, one database, nothing of a user's."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_private(
            self.configuration,
            f"[database]\nuri = {self.server}\nlist = False\npath = {self.folder / 'files'}\n"
            f"[web]\nlisten = 127.0.0.1:{self.port}\n"
            "[request]\ntimeout = 60\n",
        )

    def command(self) -> list[str]:
        """Return the command that serves the database in the foreground."""
        return [*_script("trytond"), "-c", str(self.configuration), "-d", self.database]

    def connection(self) -> str:
        """Return the Airflow connection that leads to it, as the environment variable's JSON."""
        return json.dumps(
            {
                "conn_type": "tryton",
                "host": "127.0.0.1",
                "port": self.port,
                "schema": self.database,
                "login": LOGIN,
                "password": self.password.get_secret_value(),
            }
        )

    def client(self, engine: Engine, login: str = LOGIN) -> TrytonClient:
        """Return a client for Waybill's user, or for `admin`."""
        password = self.password if login == LOGIN else self.admin_password
        system = HttpSystem(f"tryton-{self.port}", (self.url,), timeouts=Timeouts(read=60, answer=60, total=120))
        return TrytonClient(HttpClient(system, engine), database=self.database, login=login, password=password)

    def wait_until_ready(self, alive: Callable[[], bool], log: Path, seconds: float = START_SECONDS) -> None:
        """Wait until it answers.

        :param alive: whether its process is there.
        :raises RuntimeProblem: when it does not answer in time; the message carries the end of its log.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                httpx.post(
                    f"{self.url}/rpc/", json={"id": 0, "method": "common.server.version", "params": []}, timeout=5
                )
                return
            except httpx.HTTPError:
                if time.monotonic() > deadline or not alive():
                    tail = log.read_text(errors="replace")[-1500:] if log.exists() else ""
                    raise RuntimeProblem(
                        f"Tryton did not answer within {seconds:.0f} s. The end of {log}:\n{tail}"
                    ) from None
            time.sleep(0.1)


def _cache() -> Path:
    """Return the folder of Tryton's packages; another pin or another Python is another folder."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    content = REQUIREMENTS.read_bytes() + f"{sys.version_info[:2]} {sys.executable}".encode()
    return root / "waybill" / f"tryton-{hashlib.sha256(content).hexdigest()[:12]}"


def _script(name: str) -> list[str]:
    folder = _cache() / "bin"
    return [str(folder / "python"), str(folder / name)]


def install(say: Say) -> None:
    """Bring Tryton's packages to what the pins say; a second call is done at once, and two wait for each other.

    :raises RuntimeProblem: when they cannot be installed.
    """
    folder = _cache()
    stamp = folder / "installed"
    if stamp.exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists():
            return
        free = shutil.disk_usage(folder.parent).free
        if free < NEEDED_DISK:
            raise RuntimeProblem(f"Tryton needs {NEEDED_DISK // 2**20} MB in {folder.parent}: make room first.")
        say(f"Installing Tryton into {folder} (120 MB; once)")
        shutil.rmtree(folder, ignore_errors=True)
        uv = str(Path(sys.executable).with_name("uv"))
        _run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], "Tryton's environment cannot be made")
        _run(
            [uv, "pip", "install", "--quiet", "--system-certs", "--require-hashes",
             "--python", str(folder / "bin" / "python"), "-r", str(REQUIREMENTS)],
            "Tryton cannot be installed: is there a network, and a proxy set if one is needed?",
        )  # fmt: skip
        stamp.touch()


def build(tryton: Tryton, server: str, engine: Engine, known: Purchasing, say: Say) -> None:
    """Make Tryton's database, with its modules and a company that is ready to buy, whole or not at all.

    :param server: address of the PostgreSQL server's maintenance database, for psycopg.
    :param engine: on Waybill's database, where its clients keep their circuits.
    :raises RuntimeProblem: when Tryton refuses.
    """
    with psycopg.connect(server, autocommit=True) as connection:
        if _exists(connection, tryton.database):
            return
        say("Making Tryton's database (a minute; once)")
        unfinished = Tryton(
            tryton.folder, tryton.server, f"{tryton.database}_unfinished", free_port(), tryton.password,
            tryton.admin_password,
        )  # fmt: skip
        name = sql.Identifier(unfinished.database)
        connection.execute(sql.SQL("drop database if exists {} with (force)").format(name))
        connection.execute(sql.SQL("create database {} template template0 encoding 'unicode'").format(name))
        unfinished.configure()
        _create_tables(unfinished, server)
        with _serving(unfinished), unfinished.client(engine, "admin") as admin:
            places = {code: (place.title, place.kind) for code, place in warehouse().locations.items()}
            set_up(admin, known, places, login=LOGIN, password=tryton.password, today=datetime.now(UTC).date())
        final = sql.Identifier(tryton.database)
        connection.execute(sql.SQL("alter database {} rename to {}").format(name, final))
    tryton.configure()


def _exists(connection: psycopg.Connection, database: str) -> bool:
    return bool(connection.execute("select 1 from pg_database where datname = %s", [database]).fetchone())


def _create_tables(tryton: Tryton, server: str) -> None:
    """Make the tables of the modules, which takes a minute, or take a copy of those that were made with these pins."""
    address = make_conninfo(server, dbname=tryton.database)
    admin = [*_script("trytond-admin"), "-c", str(tryton.configuration), "-d", tryton.database]
    copy = _cache() / "tables.dump"
    with _password_file(tryton, secrets.token_urlsafe(16)) as variables:  # the copy must not hold a home's password
        if copy.exists():
            _run([_postgres("pg_restore"), "--no-owner", "--dbname", address, str(copy)], "Tryton's tables are no use")
        else:
            _run(
                [*admin, "-u", *MODULES, "--activate-dependencies", "-l", "en", "--email", "admin@localhost"],
                "Tryton could not make its database",
                **variables,
            )
            made = copy.with_suffix(f".{os.getpid()}")
            _run(
                [_postgres("pg_dump"), "--format", "custom", "--no-owner", "--file", str(made), "--dbname", address],
                "Tryton's tables could not be copied",
            )
            made.replace(copy)
    with _password_file(tryton, tryton.admin_password.get_secret_value()) as variables:
        _run([*admin, "--password", "--administrator"], "Tryton does not take its admin's password", **variables)


def _postgres(name: str) -> str:
    return str(embedded_postgres.BINARIES / name)


@contextmanager
def _password_file(tryton: Tryton, password: str) -> Iterator[dict[str, str]]:
    """Give a password to `trytond-admin`, in a file that is gone afterwards."""
    path = tryton.folder / "admin-password"
    write_private(path, password)
    try:
        yield {"TRYTONPASSFILE": str(path)}
    finally:
        path.unlink()


@contextmanager
def _serving(tryton: Tryton) -> Iterator[None]:
    log = tryton.folder / "setup.log"
    with log.open("w") as output:
        process = subprocess.Popen(tryton.command(), stdout=output, stderr=output, env=clean_environment())  # noqa: S603
    try:
        tryton.wait_until_ready(lambda: process.poll() is None, log)
        yield
    finally:
        process.terminate()
        process.wait(15)


def enter_suppliers(home: Home, engine: Engine, suppliers: Mapping[str, Json]) -> None:
    """Enter sample suppliers, with the categories by which Waybill knows who is blocked and who wants orders by mail.

    Doing so again changes nothing.

    :param suppliers: key -> record, as `read("supplier", ...)` gives it.
    :raises RuntimeProblem: when Tryton refuses one.
    """
    mine, known = of_home(home), Settings()
    effects = [
        PendingEffect(place, f"samples/{key}", "upsert_supplier", key, {"key": key, **record}, 1)
        for place, (key, record) in enumerate(suppliers.items())
    ]
    with mine.client(engine) as client:
        for effect, outcome in zip(effects, TrytonErp(client).apply("upsert_supplier", effects), strict=True):
            if not isinstance(outcome, Sent):
                raise RuntimeProblem(f"Tryton did not take the sample supplier {effect.target}: {outcome.error}")
    with mine.client(engine, "admin") as admin:
        for flag, name in (("blocked", known.blocked), ("orders_by_mail", known.by_mail)):
            found = admin.search_read("party.category", [("name", "=", name)], ["name"])
            category = found[0]["id"] if found else admin.create("party.category", {"name": name})
            keys = [key for key, record in suppliers.items() if record.get(flag)]
            parties = admin.search_read("party.party", [("code", "in", keys)], ["categories"])
            for party in parties:
                if category not in party["categories"]:
                    admin.write("party.party", [party["id"]], {"categories": [["add", [category]]]})


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment(**more: str) -> dict[str, str]:
    """Return an environment in which Python finds Tryton's packages and not Waybill's, and no setting of a user's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV") and not name.startswith(("TRYTON", "AIRFLOW"))
    }
    return {**kept, **more}


def _run(command: list[str], failure: str, **environment: str) -> None:
    done = subprocess.run(  # noqa: S603
        command, env=clean_environment(**environment), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeProblem(f"{failure}\n{(done.stderr or done.stdout).strip()[-2000:]}")


def choose(home: Home, erp: str | None) -> None:
    """Keep which ERP a home works with; None leaves it as it is.

    :raises RuntimeProblem: when it runs with another one.
    """
    if erp is None or (erp == PROGRAM) == chosen(home):
        return
    if Supervisor(home).alive():
        raise RuntimeProblem(f"Waybill is up with another ERP: `make down`, then `make up ERP={erp}`.")
    _choice(home).write_text(erp + "\n")


def chosen(home: Home) -> bool:
    """Return whether a home works with a Tryton of its own."""
    return _choice(home).exists() and _choice(home).read_text().strip() == PROGRAM


def _choice(home: Home) -> Path:
    return home.path / "erp"


def of_home(home: Home) -> Tryton:
    """Return the Tryton of a home: on the port after Airflow's, or on `WAYBILL_TRYTON_PORT`."""
    generated = keys(home)
    return Tryton(
        folder=home.path / "tryton",
        server=embedded_postgres.url(home, ""),
        database="tryton",
        port=int(os.environ.get("WAYBILL_TRYTON_PORT") or home.port + 1),
        password=SecretStr(generated["WAYBILL_TRYTON_PASSWORD"]),
        admin_password=SecretStr(generated["WAYBILL_TRYTON_ADMIN_PASSWORD"]),
    )


def program(home: Home) -> Program:
    """Return the server as a program of the supervisor."""
    return Program(PROGRAM, of_home(home).command(), {"PYTHONPATH": "", "VIRTUAL_ENV": ""}, priority=5)


def start(home: Home, waybill_url: str, say: Say) -> None:
    """Make Tryton's database where there is none, and start the server under the supervisor.

    :raises RuntimeProblem: with what a person should do.
    """
    tryton, supervisor = of_home(home), Supervisor(home)
    if PROGRAM not in supervisor.states():
        raise RuntimeProblem("Waybill is up without Tryton: `make down`, then `make up ERP=tryton`.")
    engine = connect(waybill_url)
    try:
        build(tryton, embedded_postgres.url(home, "postgres"), engine, purchasing(), say)
    finally:
        engine.dispose()
    tryton.configure()
    supervisor.ensure_running([PROGRAM])
    states = ("STARTING", "RUNNING", "BACKOFF")
    log = home.logs / f"{PROGRAM}.log"
    tryton.wait_until_ready(lambda: supervisor.states().get(PROGRAM, {}).get("statename") in states, log)
