"""The intake as a service of its own, mounted in another app, and the sender that talks to it."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from sqlalchemy import URL, Engine, text
from starlette.applications import Starlette
from starlette.routing import Mount

from include.data.database import asyncpg_dsn
from include.intake.app import create_app
from include.intake.sender import Answer, Parcel, Sender, parcel, send
from include.intake.signatures import Scheme
from include.intake.sources import sources
from tests.integration.intake.conftest import SECRET, Intake, begins


@contextmanager
def service(database: URL, *arguments: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        "WAYBILL_DATABASE_URL": database.render_as_string(hide_password=False),
        "WAYBILL_SECRET_WEBSITE": SECRET,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "include.intake", "--port", str(port), *arguments], env=environment
    )
    url = f"http://127.0.0.1:{port}/intake"
    try:
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                httpx.get(f"{url}/health", trust_env=False)
                break
            except httpx.HTTPError:
                time.sleep(0.1)
        yield url, process
    finally:
        process.kill()
        process.wait()


def test_the_service_stores_and_stops_gracefully(database_url: URL, engine: Engine) -> None:
    with service(database_url) as (url, process):
        seen: list[Answer] = []
        parcels = [parcel({"email": f"p{n}@example.com"}) for n in range(50)]
        sender = Sender(url, "website", SECRET, concurrency=8)
        answers = asyncio.run(sender.send(parcels, progress=seen.append))
        assert {answer.status for answer in answers} == {202}
        assert [answer.id for answer in answers] == [each.id for each in parcels]
        assert len(seen) == 50
        assert asyncio.run(sender.standing(answers[0].receipt or ""))["state"] == "pending"
        assert {answer.status for answer in send(url, "website", SECRET, [{"a": 1}])} == {202}
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) in (0, -signal.SIGTERM)
    with engine.connect() as connection:
        assert connection.execute(text("select count(*) from cases")).scalar() == 51


def test_what_was_acknowledged_survives_the_kill_of_the_service(database_url: URL, engine: Engine) -> None:
    with service(database_url) as (url, process):

        async def run() -> list[Answer]:
            sender = Sender(url, "website", SECRET, concurrency=16)
            stored: list[Answer] = []

            def kill_in_the_middle(answer: Answer) -> None:
                stored.append(answer)
                if len(stored) == 200:
                    process.kill()

            parcels = [Parcel(b'{"email":"a@example.com"}', f"m{n}") for n in range(400)]
            sending = asyncio.create_task(sender.send(parcels, progress=kill_in_the_middle))
            while process.poll() is None:
                await asyncio.sleep(0.01)
            sending.cancel()
            return [answer for answer in stored if answer.stored]

        acknowledged = asyncio.run(run())
    assert len(acknowledged) >= 199
    with engine.connect() as connection:
        found = set(connection.execute(text("select id::text from deliveries")).scalars())
        assert {answer.receipt for answer in acknowledged} <= found
        assert connection.execute(text("select difference from balance")).scalar() == 0


def test_the_command_explains_itself_and_what_it_lacks() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "include.intake", "--help"], capture_output=True, text=True, check=True
    )
    assert "--workers" in shown.stdout
    environment = {name: value for name, value in os.environ.items() if name != "WAYBILL_DATABASE_URL"}
    refused = subprocess.run(
        [sys.executable, "-m", "include.intake"], capture_output=True, text=True, env=environment, check=False
    )
    assert refused.returncode == 2
    assert "WAYBILL_DATABASE_URL" in refused.stderr


def test_mounted_in_another_app_it_works_without_a_lifespan(
    database_url: URL, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYBILL_SECRET_HUBSPOT", SECRET)
    monkeypatch.setenv("WAYBILL_SECRET_WEBSITE", SECRET)
    monkeypatch.setenv("WAYBILL_PUBLIC_URL", "https://hooks.example.com")
    inner = create_app(begins=begins, known=sources, dsn=lambda: asyncpg_dsn(database_url))
    outer = Starlette(routes=[Mount("/intake", app=inner)])

    async def run() -> None:
        transport = httpx.ASGITransport(app=outer)
        async with httpx.AsyncClient(transport=transport, base_url="http://inside") as client:
            sender = Sender("https://hooks.example.com/intake", "hubspot", SECRET, scheme=Scheme.HUBSPOT)
            body = b'[{"eventId":1,"subscriptionId":1,"objectId":1,"occurredAt":1}]'
            headers = sender.headers(body, "", "https://hooks.example.com/intake/hubspot")
            assert (await client.post("/intake/hubspot", content=body, headers=headers)).status_code == 202
            website = Sender("http://inside/intake", "website", SECRET)
            stored = await client.post("/intake/website", content=b"{}", headers=website.headers(b"{}", "m", ""))
            assert stored.status_code == 202
            where = stored.headers["location"]
            assert where.startswith("/intake/receipts/")
            receipt = where.rsplit("/", 1)[1]
            answer = await client.get(where, headers=website.headers(receipt.encode(), "ask", ""))
            assert answer.json()["state"] == "pending"
            missing = await client.get("/intake/nothing/at/all")
            assert missing.headers["content-type"] == "application/problem+json"
        await inner.state.intake.close()

    asyncio.run(run())
    asyncio.run(run_again(outer, inner))


async def run_again(outer: Starlette, inner: object) -> None:
    """Another event loop of the same process has an inbox of its own."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=outer), base_url="http://inside") as client:
        assert (await client.get("/intake/health")).json()["status"] == "ok"
    await inner.state.intake.close()  # type: ignore[attr-defined]


def test_a_sender_insists_with_the_same_id_while_the_database_is_away(intake: Intake) -> None:
    good, intake.dsn[0] = intake.dsn[0], "postgresql://nobody@127.0.0.1:1/none"

    async def run() -> list[Answer]:
        sending = asyncio.create_task(Sender(intake.url, "website", SECRET).send([Parcel(b'{"email":"a"}', "m1")]))
        await asyncio.sleep(0.3)
        intake.dsn[0] = good
        return await sending

    (answer,) = asyncio.run(run())
    assert answer.status == 202
    assert answer.attempts > 1
    assert intake.rows("select key from deliveries") == [("id:m1",)]
