"""A real intake on 127.0.0.1, over a fresh database, and a hand to send with."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
import uvicorn
from sqlalchemy import URL, Engine, text

from include.data.database import asyncpg_dsn
from include.intake.app import FirstStage, create_app
from include.intake.signatures import sign
from include.intake.sources import Source, sources
from tests.standins.serving import Prompt

TLS = httpx.create_ssl_context()  # making one takes longer than a request
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def begins(workflow: str) -> FirstStage:
    """Where cases begin in these tests: they are about the intake, not about contracts."""
    if workflow == "undeclared":
        raise KeyError(workflow)
    return FirstStage("capture", "sales")


@dataclass
class Intake:
    """The intake under test, its database, and a sender for each of its sources."""

    url: str
    engine: Engine
    dsn: list[str]
    known: dict[str, Source]

    def headers(
        self, source: str, body: bytes, url: str, *, message_id: str | None, method: str = "POST"
    ) -> dict[str, str]:
        declared = self.known[source]
        own = {declared.id_header: message_id} if declared.id_header and message_id else {}
        signed = sign(
            declared.scheme,
            SECRET,
            body,
            now=time.time(),
            message_id=message_id or f"msg_{uuid4().hex}",
            url=url,
            method=method,
        )
        return {"content-type": "application/json", **own, **signed}

    def post(
        self,
        source: str,
        body: bytes,
        *,
        message_id: str | None = None,
        path: str = "",
        headers: dict[str, str | None] | None = None,
        timeout: float = 20,
    ) -> httpx.Response:
        url = f"{self.url}/{source}{path}"
        every: dict[str, str | None] = {**self.headers(source, body, url, message_id=message_id), **(headers or {})}
        kept = {name: value for name, value in every.items() if value is not None}
        return httpx.post(url, content=body, headers=kept, timeout=timeout, trust_env=False, verify=TLS)

    def ask(self, receipt: str, source: str, headers: dict[str, str] | None = None) -> httpx.Response:
        url = f"{self.url}/receipts/{receipt}"
        if headers is None:
            headers = self.headers(source, receipt.encode(), url, message_id=f"ask_{uuid4().hex}", method="GET")
        return httpx.get(url, headers=headers, trust_env=False, verify=TLS)

    def rows(self, query: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def count(self, table: str = "deliveries") -> int:
        return int(self.rows(f"select count(*) from {table}")[0][0])

    def refusals(self, source: str, reason: str) -> int:
        """The counted refusals, once they have had time to reach the database."""
        until = time.monotonic() + 5
        while True:
            found = self.rows(
                "select count from intake_refusals where source = :source and reason = :reason",
                source=source,
                reason=reason,
            )
            if found or time.monotonic() > until:
                return int(found[0][0]) if found else 0
            time.sleep(0.05)


class _Server(Prompt):
    def install_signal_handlers(self) -> None:
        """Runs in a thread; signals are the tests' own."""


@pytest.fixture
def intake(engine: Engine, database_url: URL, monkeypatch: pytest.MonkeyPatch) -> Iterator[Intake]:
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "development")
    for declared in sources().values():
        if declared.secret:
            monkeypatch.setenv(declared.secret, SECRET)
    dsn = [asyncpg_dsn(database_url)]
    known = dict(sources())
    app = create_app(prefix="/intake", known=lambda: known, begins=begins, dsn=lambda: dsn[0])
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, loop="uvloop", http="httptools", lifespan="off", log_level="warning", access_log=False)
    server = _Server(config)

    async def serve() -> None:
        await server.serve(sockets=[listener])
        await app.state.intake.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = listener.getsockname()[1]
    yield Intake(f"http://127.0.0.1:{port}/intake", engine, dsn, known)
    server.should_exit = True
    thread.join(20)
