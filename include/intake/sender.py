"""A sender of signed deliveries: what a website's server does, for the demo, the tests and the benchmarks.

Sends the same delivery again when the intake is away; it never makes a second one out of it.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import httpx
import orjson

from include.intake.signatures import Scheme, sign

MOST_ATTEMPTS = 8


@dataclass(frozen=True)
class Parcel:
    """A delivery to send: its body, and the id under which it is sent however often."""

    body: bytes
    id: str


@dataclass(frozen=True)
class Answer:
    """What the intake said to a parcel.

    :param status: HTTP status of the last attempt; 0 when nothing answered.
    :param receipt: of the delivery; of the first, where the source takes several in one body.
    :param seconds: time of the last attempt alone.
    """

    id: str
    status: int
    receipt: str | None
    seconds: float
    attempts: int = 1

    @property
    def stored(self) -> bool:
        """Whether the delivery is safe."""
        return self.status in (200, 202)


def parcel(payload: object, parcel_id: str | None = None) -> Parcel:
    """Return a payload as a parcel; without an id it gets a new one."""
    return Parcel(orjson.dumps(payload), parcel_id or f"msg_{uuid4().hex}")


class Sender:
    """Sends to one source.

    :param url: where the intake answers, such as http://127.0.0.1:8080/intake.
    :param id_header: the source's id header, for schemes that have none of their own.
    """

    def __init__(
        self,
        url: str,
        source: str,
        secret: str,
        *,
        scheme: Scheme = Scheme.STANDARD_WEBHOOKS,
        id_header: str | None = None,
        concurrency: int = 16,
    ) -> None:
        self._url = url.rstrip("/")
        self._source = source
        self._secret = secret
        self._scheme = scheme
        self._id_header = id_header
        self._concurrency = concurrency

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[httpx.AsyncClient]:
        limits = httpx.Limits(max_connections=self._concurrency, max_keepalive_connections=self._concurrency)
        async with httpx.AsyncClient(limits=limits, timeout=10, trust_env=False) as client:
            yield client

    def headers(self, body: bytes, message_id: str, url: str, method: str = "POST") -> dict[str, str]:
        """Return the headers of a request that is sent now."""
        signed = sign(self._scheme, self._secret, body, now=time.time(), message_id=message_id, url=url, method=method)
        own = {self._id_header: message_id} if self._id_header else {}
        return {"content-type": "application/json", **own, **signed}

    async def send(
        self, parcels: Iterable[Parcel], *, progress: Callable[[Answer], None] | None = None
    ) -> list[Answer]:
        """Send every parcel, at most `concurrency` at a time; the answers are in the order of the parcels.

        :param progress: called once per parcel when its answer is final.
        """
        numbered = enumerate(parcels)
        answers: dict[int, Answer] = {}

        async def work(client: httpx.AsyncClient) -> None:
            for index, each in numbered:
                answers[index] = await self._insist(client, each)
                if progress:
                    progress(answers[index])

        async with self._client() as client, asyncio.TaskGroup() as group:
            for _ in range(self._concurrency):
                group.create_task(work(client))
        return [answers[index] for index in range(len(answers))]

    async def _insist(self, client: httpx.AsyncClient, each: Parcel) -> Answer:
        answer = Answer(each.id, 0, None, 0.0)
        for attempt in itertools.count(1):
            answer = await self._post(client, each, attempt)
            if answer.status not in (0, 408, 500, 502, 503, 504) or attempt == MOST_ATTEMPTS:
                break
            await asyncio.sleep(min(5.0, 0.2 * 2**attempt))
        return answer

    async def _post(self, client: httpx.AsyncClient, each: Parcel, attempt: int) -> Answer:
        url = f"{self._url}/{self._source}"
        began = time.perf_counter()
        try:
            response = await client.post(url, content=each.body, headers=self.headers(each.body, each.id, url))
        except httpx.HTTPError:
            return Answer(each.id, 0, None, time.perf_counter() - began, attempt)
        seconds = time.perf_counter() - began
        document = orjson.loads(response.content) if response.is_success else {}
        receipt = document.get("receipt") or next((item["receipt"] for item in document.get("items", ())), None)
        return Answer(each.id, response.status_code, receipt, seconds, attempt)

    async def standing(self, receipt: str) -> dict[str, object]:
        """Return what became of a delivery.

        :raises httpx.HTTPStatusError: when the intake does not tell.
        """
        url = f"{self._url}/receipts/{receipt}"
        headers = self.headers(receipt.encode(), f"ask_{uuid4().hex}", url, "GET")
        async with self._client() as client:
            response = await client.get(url, headers=headers)
        response.raise_for_status()
        found: dict[str, object] = orjson.loads(response.content)
        return found


def send(
    url: str,
    source: str,
    secret: str,
    payloads: Sequence[object],
    *,
    scheme: Scheme = Scheme.STANDARD_WEBHOOKS,
    concurrency: int = 16,
    progress: Callable[[Answer], None] | None = None,
) -> list[Answer]:
    """Send `payloads` from code that is not asynchronous, each under a new id."""
    sender = Sender(url, source, secret, scheme=scheme, concurrency=concurrency)
    return asyncio.run(sender.send([parcel(payload) for payload in payloads], progress=progress))
