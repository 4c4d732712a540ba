"""A real Tryton server for tests, which may be killed, and a proxy before it, which may lose answers."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import psycopg
from pydantic import SecretStr
from sqlalchemy import URL, Engine

from include.domain.purchasing import purchasing
from include.integrations.http import CircuitPolicy, HttpClient, HttpSystem, Retries, Timeouts
from include.integrations.tryton import Settings, TrytonClient, TrytonErp
from include.runtime.tryton import LOGIN, Tryton, build, clean_environment, free_port, install

PASSWORD, ADMIN_PASSWORD = "correct horse battery 1", "staple horse battery 2"
PATIENT = CircuitPolicy(threshold=1_000)
_SOMEBODY_WAITS = b"select 1 from pg_locks where relation = %s::regclass and not granted"


@dataclass
class Server:
    """A Tryton on a database of its own."""

    tryton: Tryton
    engine: Engine
    database: str
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.tryton.configure()
        log = self.tryton.folder / "trytond.log"
        with log.open("a") as output:
            self.process = subprocess.Popen(
                self.tryton.command(), stdout=output, stderr=output, env=clean_environment()
            )
        process = self.process
        self.tryton.wait_until_ready(lambda: process.poll() is None, log)

    def kill(self) -> None:
        """End it as a power failure would."""
        process = self.process
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()

    def kill_at_a_write_to(self, table: str) -> None:
        """Let whoever writes to a table of Tryton's next wait, and kill the server while it does."""
        connection = psycopg.connect(self.database)
        connection.execute(f"lock table {table} in share mode".encode())

        def kill() -> None:
            with connection:
                for _ in range(1_000):
                    if connection.execute(_SOMEBODY_WAITS, [table]).fetchone():
                        break
                    time.sleep(0.02)
                self.kill()

        threading.Thread(target=kill, daemon=True).start()

    def client(
        self, url: str | None = None, *, login: str = LOGIN, password: str | None = None, **changes: Any
    ) -> TrytonClient:
        """A client that does not wait long."""
        secret = password or (PASSWORD if login == LOGIN else ADMIN_PASSWORD)
        system = HttpSystem(
            changes.pop("name", "tryton"),
            (url or self.tryton.url,),
            timeouts=Timeouts(connect=2, read=changes.pop("read", 20), total=30),
            retries=Retries(attempts=2, first=0.01, longest=0.1),
            circuit=PATIENT,
        )
        database = changes.pop("database", self.tryton.database)
        return TrytonClient(HttpClient(system, self.engine), database=database, login=login, password=SecretStr(secret))

    def provider(self, url: str | None = None, *, under_way: float = 75.0, **changes: Any) -> TrytonErp:
        """A provider on it, or on the proxy at `url`."""
        return TrytonErp(self.client(url, **changes), Settings(under_way=under_way))

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Look into Tryton's own database."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            return connection.execute(query.encode(), values).fetchall()

    def change(self, statement: str, *values: Any) -> None:
        """Change Tryton's own database."""
        with psycopg.connect(self.database, autocommit=True) as connection:
            connection.execute(statement.encode(), values)


def make_template(server_url: URL, engine: Engine, folder: Path) -> Tryton:
    """Install Tryton, and make the database that tests copy."""
    install(print)
    plain = server_url.set(drivername="postgresql")
    tryton = Tryton(
        folder=folder,
        server=plain.set(database=None).render_as_string(hide_password=False).replace("postgres:@", "postgres@")
        .replace("@?", "@/?"),
        database="tryton_template",
        port=free_port(),
        password=SecretStr(PASSWORD),
        admin_password=SecretStr(ADMIN_PASSWORD),
    )  # fmt: skip
    build(tryton, plain.render_as_string(hide_password=False), engine, purchasing(), print)
    return tryton


@contextmanager
def serving(template: Tryton, server_url: URL, engine: Engine, folder: Path) -> Iterator[Server]:
    """Serve a copy of the template."""
    plain = server_url.set(drivername="postgresql")
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(f"create database tryton_test template {template.database}".encode())
        copy = replace(template, folder=folder, database="tryton_test", port=free_port())
        address = plain.set(database="tryton_test").render_as_string(hide_password=False)
        server = Server(copy, engine, address)
        server.start()
        try:
            yield server
        finally:
            server.kill()
            connection.execute(b"drop database tryton_test with (force)")


@dataclass
class Proxy:
    """Stands before a server, and does at the first call of a method what a test asks for."""

    target: str
    url: str = ""
    method: str | None = None
    fault: str = ""
    seen: list[str] = field(default_factory=list)
    happened: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    then: Callable[[], None] | None = None

    def at(self, method: str, fault: str, then: Callable[[], None] | None = None) -> None:
        """At the next call of `method`: `lose` the answer; `hold` the call, unanswered, until `release`; or do `then`
        right `before` it is carried out.
        """
        self.happened.clear()
        self.release.clear()
        self.method, self.fault, self.then = method, fault, then

    def take(self, body: bytes) -> str:
        """Return the fault for this call."""
        if self.method is None or f'.{self.method}"'.encode() not in body:
            return ""
        self.method = None
        return self.fault


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    """Serve a proxy before `target`."""
    state = Proxy(target)
    upstream = httpx.Client(timeout=60)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {
                k: v for k, v in self.headers.items() if k.lower() in ("authorization", "content-type", "accept")
            }
            fault = state.take(body)
            if fault == "hold":
                self._drop()
                threading.Thread(target=self._later, args=(body, headers)).start()
                return
            if fault == "before":
                assert state.then
                state.then()
            try:
                answer = upstream.post(target + self.path, content=body, headers=headers)
            except httpx.HTTPError:
                state.happened.set()
                self._drop()
                return
            if fault:
                state.happened.set()
            if fault == "lose":
                self._drop()
                return
            self.send_response(answer.status_code)
            for name in ("content-type", "retry-after"):
                if name in answer.headers:
                    self.send_header(name, answer.headers[name])
            self.send_header("content-length", str(len(answer.content)))
            self.end_headers()
            self.wfile.write(answer.content)

        def _later(self, body: bytes, headers: dict[str, str]) -> None:
            state.release.wait(30)
            upstream.post(target + self.path, content=body, headers=headers)
            state.happened.set()

        def _drop(self) -> None:
            self.close_connection = True
            self.connection.shutdown(2)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        upstream.close()


__all__ = ["ADMIN_PASSWORD", "PASSWORD", "Proxy", "Server", "make_template", "proxy", "serving"]
