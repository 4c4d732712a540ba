"""The intake's HTTP face: who may send, what is readable, and which answer each outcome gets.

Storing is inbox.py's part. The routes are plain ASGI inside a FastAPI app, because the time of an
acknowledgement is the sender's.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any, TypeVar
from uuid import UUID
from weakref import WeakKeyDictionary

import orjson
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from include.contracts.registry import contract
from include.data.database import DatabaseMissing, asyncpg_dsn
from include.intake.bodies import Piece, Unreadable, parse_object, split_array, split_lines
from include.intake.inbox import Away, Inbox, Item, Receipt
from include.intake.problems import Problem, away
from include.intake.receipts import standing
from include.intake.signatures import Message, Refused, verify
from include.intake.sources import SecretMissing, Source, outside_sources, usable_id

log = logging.getLogger(__name__)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

T = TypeVar("T")

MOST_ITEMS = 10_000
READ_PATIENCE = 20.0  # seconds for a body to arrive
LINGER_SECONDS = 2.0
LINGER_BYTES = 32 * 2**20
"""How much is still taken, and thrown away, of a body that is refused: see `_linger`."""
LARGE = 256 * 2**10  # bytes; a larger body is parsed in a thread, so that others need not wait for it
NDJSON = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"})


@dataclass(frozen=True)
class FirstStage:
    """Where a new case begins, and which team answers for it."""

    stage: str
    owner: str


@lru_cache(maxsize=256)
def first_stage(workflow: str) -> FirstStage:
    """Return where a workflow's cases begin, from its contract.

    :raises KeyError: when it has no contract.
    """
    declared = contract(workflow)
    return FirstStage(declared.step_ids[0] if declared.step_ids else "received", declared.owner.id)


class _Gone(Exception):
    """The sender hung up before its body was whole."""


class Intake:
    """The routes and what they share: one inbox per event loop."""

    def __init__(
        self,
        known: Callable[[], Mapping[str, Source]],
        begins: Callable[[str], FirstStage],
        dsn: Callable[[], str],
    ) -> None:
        self._known = known
        self._begins = begins
        self._dsn = dsn
        self._inboxes: WeakKeyDictionary[asyncio.AbstractEventLoop, Inbox] = WeakKeyDictionary()

    @property
    def inbox(self) -> Inbox:
        """This event loop's inbox, made at its first use: nothing tells a mounted app that it starts."""
        loop = asyncio.get_running_loop()
        inbox = self._inboxes.get(loop)
        if inbox is None:
            inbox = self._inboxes[loop] = Inbox(self._dsn)
        return inbox

    async def close(self) -> None:
        """Close this event loop's inbox."""
        inbox = self._inboxes.pop(asyncio.get_running_loop(), None)
        if inbox is not None:
            await inbox.close()

    # -- the routes

    async def one(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /{source}`: one delivery, or for a source with an array envelope several."""
        await self._answer(scope, receive, send, self._one)

    async def batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /{source}/batch`: a JSON array or NDJSON, stored as a whole or not at all."""
        await self._answer(scope, receive, send, self._batch)

    async def receipt(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /receipts/{id}`: what became of a delivery."""
        await self._answer(scope, receive, send, self._receipt)

    async def health(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /health`: whether deliveries can be stored."""
        await self._answer(scope, receive, send, self._health)

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        route: Callable[[Scope, Receive], Awaitable[_Answer]],
    ) -> None:
        left_unread = False
        try:
            answer = await route(scope, receive)
        except Problem as problem:
            left_unread = problem.close
            name = scope.get("path_params", {}).get("source", "")
            if name in self._known() and problem.status != 503:
                self.inbox.count_refusal(name, problem.code)
            answer = _of(problem)
        except _Gone:
            return
        except (Away, DatabaseMissing):
            answer = _of(away())
        except Exception as error:
            # the message of an error may repeat what a person wrote; where it happened does not
            where = "".join(traceback.format_tb(error.__traceback__))
            log.error("the intake failed: %s\n%s", type(error).__name__, where)
            answer = _of(
                Problem(500, "intake.failed", "Nothing is known to be stored. Send the same delivery again later.")
            )
        await _send(send, answer, receive if left_unread else None)

    async def _one(self, scope: Scope, receive: Receive) -> _Answer:
        source, secrets = self._source(scope)
        headers = _headers(scope)
        _content(headers, ("application/json",))
        body = await _read(receive, headers, source.max_bytes)
        _prove(source, secrets, scope, headers, body)
        begins = self._begin(source)
        if source.envelope == "array":
            pieces = await _parsed(split_array, body)
            return await self._store_all(source, begins, pieces)
        document = await _parsed(parse_object, body)
        item = _item(source, begins, body, document, _header_id(source, headers))
        receipt = await self.inbox.deliver(item)
        if receipt.what == "conflict":
            raise Problem(
                409,
                "id.conflict",
                "A delivery with this id and another body is stored already. A new delivery needs a new id.",
                extra={"receipt": str(receipt.id)},
            )
        where = f"{_mount(scope)}/receipts/{receipt.id}"
        new = receipt.what == "new"
        return _Answer(
            202 if new else 200,
            b'{"receipt":"%b","status":"%b"}' % (str(receipt.id).encode(), b"accepted" if new else b"repeated"),
            {"content-type": "application/json", "location": where},
        )

    async def _batch(self, scope: Scope, receive: Receive) -> _Answer:
        source, secrets = self._source(scope)
        headers = _headers(scope)
        kind = _content(headers, ("application/json", *NDJSON))
        body = await _read(receive, headers, source.max_batch_bytes)
        _prove(source, secrets, scope, headers, body)
        begins = self._begin(source)
        pieces = await _parsed(split_lines if kind in NDJSON else split_array, body)
        too_large = next((n for n, piece in enumerate(pieces) if len(piece.body) > source.max_bytes), None)
        if too_large is not None:
            raise Problem(
                413,
                "item.too_large",
                f"Item {too_large} is larger than {source.max_bytes} bytes. Nothing is stored.",
            )
        return await self._store_all(source, begins, pieces)

    async def _store_all(self, source: Source, begins: FirstStage, pieces: Sequence[Piece]) -> _Answer:
        if len(pieces) > MOST_ITEMS:
            raise Problem(413, "items.too_many", f"More than {MOST_ITEMS} items in one request. Nothing is stored.")
        items = [_item(source, begins, piece.body, piece.document, None) for piece in pieces]
        receipts = await self.inbox.deliver_all(items) if items else []
        if any(receipt.what == "conflict" for receipt in receipts):
            raise Problem(
                409,
                "id.conflict",
                "Items with status 409 have an id that belongs to another body. Nothing is stored.",
                extra={"items": [_standing_of(n, receipt, stored=False) for n, receipt in enumerate(receipts)]},
            )
        new = sum(1 for receipt in receipts if receipt.what == "new")
        document = {
            "status": "accepted" if new else "repeated",
            "accepted": new,
            "repeated": len(receipts) - new,
            "items": [_standing_of(n, receipt) for n, receipt in enumerate(receipts)],
        }
        return _Answer(202 if new else 200, orjson.dumps(document))

    async def _receipt(self, scope: Scope, _: Receive) -> _Answer:
        text = scope["path_params"]["receipt"]
        try:
            receipt = UUID(text)
        except ValueError:
            raise Problem(404, "receipt.unknown", "There is no such receipt.") from None
        found = await standing(self.inbox, receipt)
        source = self._known().get(found["source"]) if found else None
        if found is None or source is None:
            raise Problem(404, "receipt.unknown", "There is no such receipt.")
        try:
            _prove(source, _secrets(source), scope, _headers(scope), text.encode())
        except Problem as problem:
            if problem.status == 401:
                self.inbox.count_refusal(source.name, f"receipt.{problem.code}")
            raise
        return _Answer(200, orjson.dumps(found))

    async def _health(self, _: Scope, __: Receive) -> _Answer:
        await self.inbox.fetch("select 1 from deliveries limit 1")
        unready = []
        for source in self._known().values():
            try:
                source.secrets()
                self._begins(source.workflow)
            except (SecretMissing, LookupError, ValueError):
                unready.append(source.name)
        return _Answer(200, orjson.dumps({"status": "ok", "database": "ok", "unready": unready}))

    # -- what several routes need

    def _source(self, scope: Scope) -> tuple[Source, list[str]]:
        source = self._known().get(scope["path_params"]["source"])
        if source is None:
            raise Problem(404, "source.unknown", "There is no source of this name.")
        return source, _secrets(source)

    def _begin(self, source: Source) -> FirstStage:
        try:
            return self._begins(source.workflow)
        except (LookupError, ValueError):
            log.error(
                "the source %s names the workflow %s, whose contract cannot be used",
                source.name,
                source.workflow,
            )
            raise Problem(
                503, "source.unready", "This source is not ready yet. Send the same delivery again later."
            ) from None


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] | None = None


def _of(problem: Problem) -> _Answer:
    return _Answer(problem.status, problem.document(), problem.all_headers())


async def _send(send: Send, answer: _Answer, unread: Receive | None) -> None:
    headers = [(b"content-length", b"%d" % len(answer.body))]
    for name, value in (answer.headers or {"content-type": "application/json"}).items():
        headers.append((name.encode("latin-1"), value.encode("latin-1")))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": unread is not None})
    if unread is not None:
        await _linger(unread)
        await send({"type": "http.response.body", "body": b""})


async def _linger(receive: Receive) -> None:
    """Take what the sender is still sending, within bounds: a connection that ends over unread bytes loses the answer.

    Source: RFC 9112, section 9.6.
    """
    taken = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            while taken < LINGER_BYTES:
                message = await receive()
                taken += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


def _headers(scope: Scope) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


def _mount(scope: Scope) -> str:
    """The path under which the intake answers, `/intake` unless it is mounted deeper."""
    path: str = scope["path"]
    return path[: -len(scope["path_params"]["source"]) - 1]


def _address(scope: Scope, headers: Mapping[str, str]) -> str:
    """The whole address that the sender called; behind a proxy WAYBILL_PUBLIC_URL stands for our own host."""
    base = os.environ.get("WAYBILL_PUBLIC_URL") or f"{scope.get('scheme', 'http')}://{headers.get('host', '')}"
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw.decode("latin-1").partition("?")[0]
    query: str = scope.get("query_string", b"").decode("latin-1")
    return base.rstrip("/") + path + (f"?{query}" if query else "")


def _secrets(source: Source) -> list[str]:
    try:
        return source.secrets()
    except SecretMissing as missing:
        log.error("%s", missing)
        raise Problem(
            503, "source.unready", "This source is not ready yet. Send the same delivery again later."
        ) from None


def _prove(source: Source, secrets: Sequence[str], scope: Scope, headers: Mapping[str, str], body: bytes) -> None:
    message = Message(scope["method"], _address(scope, headers), headers, body)
    try:
        verify(
            source.scheme,
            secrets,
            message,
            now=time.time(),
            tolerance=source.tolerance_seconds,
            header=source.signature_header,
        )
    except Refused as refused:
        raise Problem(401, refused.code, refused.detail) from None
    except ValueError as error:
        log.error("the secret of %s cannot be used: %s", source.name, error)
        raise Problem(
            503, "source.unready", "This source is not ready yet. Send the same delivery again later."
        ) from None


def _content(headers: Mapping[str, str], accepted: Sequence[str]) -> str:
    """The media type of the body, once it is known to be one of `accepted` (`…+json` counts as JSON)."""
    kind, _, parameters = headers.get("content-type", "").partition(";")
    kind = kind.strip().lower()
    if kind.startswith("application/") and kind.endswith("+json"):
        kind = "application/json"
    if kind not in accepted:
        raise Problem(415, "content.type", f"Send the body as {accepted[0]}, and say so in content-type.")
    charset = parameters.partition("charset=")[2].strip(' "').lower()
    if charset and charset not in ("utf-8", "utf8", "us-ascii"):
        raise Problem(415, "content.charset", "JSON is UTF-8; send it so.")
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise Problem(
            415,
            "content.encoding",
            "Send the body without content-encoding.",
            {"accept-encoding": "identity"},
        )
    return kind


def _too_large(most: int) -> Problem:
    return Problem(413, "body.too_large", f"At most {most} bytes are accepted.", close=True)


async def _read(receive: Receive, headers: Mapping[str, str], most: int) -> bytes:
    """The whole body, of which no more than `most` bytes, and what came with them, are ever held."""
    declared = headers.get("content-length", "")
    if declared.isdigit() and int(declared) > most:
        raise _too_large(most)
    message = await receive()
    if message["type"] == "http.disconnect":
        raise _Gone
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > most:
            raise _too_large(most)
        return body
    parts, size = [body], len(body)
    try:
        async with asyncio.timeout(READ_PATIENCE):
            while message.get("more_body"):
                if size > most:
                    raise _too_large(most)
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _Gone
                parts.append(message.get("body", b""))
                size += len(parts[-1])
    except TimeoutError:
        raise Problem(408, "body.slow", "The body did not arrive in time.", close=True) from None
    if size > most:
        raise _too_large(most)
    return b"".join(parts)


async def _parsed(parse: Callable[[bytes], T], body: bytes) -> T:
    try:
        return parse(body) if len(body) < LARGE else await asyncio.to_thread(parse, body)
    except Unreadable as error:
        raise Problem(400, f"body.{error.code}", error.detail) from None


def _header_id(source: Source, headers: Mapping[str, str]) -> str | None:
    """The id in the source's header, or None where it sends none.

    Headers are bytes; a sender that writes UTF-8 into them means the text.
    """
    raw = headers.get(source.id_header or "", "").strip()
    if not raw:
        return None
    with suppress(UnicodeError):
        raw = raw.encode("latin-1").decode()
    usable = usable_id(raw)
    if usable is None:
        raise Problem(400, "id.unusable", f"The id in {source.id_header} must be 1 to 200 printable characters.")
    return usable


def _item(source: Source, begins: FirstStage, body: bytes, document: dict[str, Any], header_id: str | None) -> Item:
    own_id = header_id or source.own_id(document)
    what = body
    if source.volatile:
        steady = {name: value for name, value in document.items() if name not in source.volatile}
        what = orjson.dumps(steady, option=orjson.OPT_SORT_KEYS)
    return Item(
        source=source.name,
        workflow=source.workflow,
        key=f"id:{own_id}" if own_id else "",
        digest=hashlib.sha256(what).digest(),
        body=body,
        content_type="application/json",
        window=timedelta(seconds=source.dedupe_seconds),
        stage=begins.stage,
        owner=begins.owner,
    )


def _standing_of(index: int, receipt: Receipt, *, stored: bool = True) -> dict[str, Any]:
    if receipt.what == "conflict":
        return {"index": index, "status": 409, "receipt": str(receipt.id)}
    if receipt.what == "new":
        return (
            {"index": index, "status": 202, "receipt": str(receipt.id)} if stored else {"index": index, "status": 424}
        )
    return {"index": index, "status": 200, "receipt": str(receipt.id)}


class _Endpoint:
    """A route of Starlette that takes ASGI as it is; a function would be wrapped for every request."""

    def __init__(self, route: Callable[[Scope, Receive, Send], Awaitable[None]]) -> None:
        self._route = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._route(scope, receive, send)


async def _http_problem(_: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = {404: "path.unknown", 405: "method"}.get(error.status_code, "request")
    problem = Problem(error.status_code, code, str(error.detail), dict(error.headers or {}))
    return Response(problem.document(), problem.status, problem.all_headers())


def create_app(
    *,
    prefix: str = "",
    known: Callable[[], Mapping[str, Source]] = outside_sources,
    begins: Callable[[str], FirstStage] = first_stage,
    dsn: Callable[[], str] = asyncpg_dsn,
) -> FastAPI:
    """Return the intake.

    :param prefix: `/intake` where it runs alone; empty where something else mounts it at `/intake`.
    :param known: the sources; asked again for every request.
    :param begins: workflow -> where its cases begin; LookupError when the workflow has no contract.
    :param dsn: address of the database for asyncpg; asked again for every connection.
    """
    intake = Intake(known, begins, dsn)
    app = FastAPI(
        title="Waybill intake",
        openapi_url=None,
        exception_handlers={HTTPException: _http_problem},
    )
    app.router.redirect_slashes = False
    for path, route, method in (
        ("/health", intake.health, "GET"),
        ("/receipts/{receipt}", intake.receipt, "GET"),
        ("/{source}", intake.one, "POST"),
        ("/{source}/batch", intake.batch, "POST"),
    ):
        app.router.routes.append(Route(prefix + path, _Endpoint(route), methods=[method]))
    app.state.intake = intake
    return app
