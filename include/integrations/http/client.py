"""The client under every provider that speaks HTTP: limits, retries, circuits, tokens, failover, time-outs.

It does not know what is sent; a provider says of each call whether it may be repeated.
"""

from __future__ import annotations

import email.utils
import functools
import logging
import math
import re
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, unquote_plus, urlsplit

import httpx
import orjson
from pydantic import SecretStr
from sqlalchemy import Engine
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_random_exponential,
)

from include.integrations.http.circuits import Admission, Circuit, CircuitPolicy
from include.integrations.http.credentials import CredentialStore, OAuth2, Token
from include.integrations.http.errors import (
    NotAuthorised,
    Rejected,
    Unavailable,
    UnknownOutcome,
)
from include.integrations.http.limits import RateLimit, RateLimiter
from include.integrations.http.secrets import Cipher, mask

log = logging.getLogger(__name__)

_trusted = functools.cache(httpx.create_ssl_context)
"""Which certificates are good; reading them takes 50 ms, so once for all clients of a process."""

REPEATABLE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110, 9.2.2
NOT_CARRIED_OUT = frozenset({429, 503})  # the server says that it did not take the request
BUSY = frozenset({408, 423, 425})  # repeat later; HubSpot locks records with 423
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
UNAUTHORISED_FOR = 300.0  # seconds until a call with a refused credential is tried again
PAUSE_UNSAID = 10.0  # seconds of pause after a 429 that names no time
LONGEST_PAUSE = 86_400.0  # seconds; a daily quota is the longest that systems set


@dataclass(frozen=True)
class Bearer:
    """A token that does not change, sent as `Authorization: Bearer`."""

    token: SecretStr


@dataclass(frozen=True)
class Basic:
    """HTTP Basic authentication."""

    username: str
    password: SecretStr


@dataclass(frozen=True)
class ApiKey:
    """A key that is sent in a header of its own."""

    header: str
    key: SecretStr


Auth = Bearer | Basic | ApiKey | OAuth2


@dataclass(frozen=True)
class Timeouts:
    """Seconds that each part of a call may take, and a whole call with its retries and waits.

    The whole must fit into the ledger's lease of two minutes, together with a provider's further calls.
    """

    connect: float = 5.0
    read: float = 20.0
    write: float = 15.0
    pool: float = 5.0
    answer: float = 30.0
    total: float = 40.0


@dataclass(frozen=True)
class Retries:
    """How often a call is made, and the seconds of the first and the longest wait, doubling, with jitter."""

    attempts: int = 4
    first: float = 0.5
    longest: float = 20.0


@dataclass(frozen=True)
class HttpSystem:
    """All that is needed to call a system.

    :param name: the system's name; limits, circuits and pauses are shared under it.
    :param base_urls: where it is; the second and further ones are used while those before are down.
    :param query: of each call's address, as it is, in place of the call's own; it may hold a credential, so no message
        shows it.
    :param longest_answer: bytes of an answer that are read.
    """

    name: str
    base_urls: tuple[str, ...]
    auth: Auth | None = None
    limits: tuple[RateLimit, ...] = ()
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    circuit: CircuitPolicy = field(default_factory=CircuitPolicy)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    verify: bool = True
    query: SecretStr | None = None
    longest_answer: int = 20_000_000

    def __post_init__(self) -> None:
        if not self.base_urls:
            raise ValueError(f"system {self.name} has no base URL")
        for url in self.base_urls:
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"system {self.name}: {mask(url.partition('?')[0])!r} is not an http(s) address")
            if parts.username or parts.password:
                raise ValueError(f"system {self.name}: put the user and password into `auth`, not into the address")


@dataclass(frozen=True)
class Answer:
    """A system's answer with a 2xx status. Its body may hold personal data, so it has no place in a repr."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)

    def json(self) -> Any:
        """Return the parsed body; None when it is empty.

        :raises ValueError: when it is not JSON.
        """
        return orjson.loads(self.content) if self.content else None


@dataclass(frozen=True)
class _Call:
    method: str
    path: str
    content: bytes | None
    params: Mapping[str, str] | None
    headers: Mapping[str, str]
    repeatable: bool
    deadline: float

    def left(self) -> float:
        return self.deadline - time.monotonic()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class _Again(Exception):
    """An attempt failed in a way that allows another."""

    def __init__(self, trouble: Unavailable) -> None:
        super().__init__(str(trouble))
        self.trouble = trouble


class HttpClient:
    """Calls one system. Cheap to keep, safe to share between threads; make a new one after a fork."""

    def __init__(
        self,
        system: HttpSystem,
        engine: Engine,
        *,
        cipher: Cipher | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Make a client whose limits, circuits and tokens are shared through `engine`.

        :param cipher: for stored tokens; from the environment when None.
        :param transport: another way to send, such as a proxy.
        """
        self.system = system
        self._http = httpx.Client(
            headers={"user-agent": "waybill", "accept": "application/json", **system.headers},
            verify=_trusted() if system.verify else False,
            transport=transport,
            follow_redirects=False,
        )
        self._until = threading.local()
        self._limiter = RateLimiter(engine, system.name, system.limits)
        self._circuits = [
            (
                url.rstrip("/"),
                Circuit(engine, system.name, f"{system.name} at {urlsplit(url).netloc}", system.circuit),
            )
            for url in system.base_urls
        ]
        self._tokens = (
            CredentialStore(engine, system.name, system.auth, self._http, cipher)
            if isinstance(system.auth, OAuth2)
            else None
        )

    def request(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | None = None,
    ) -> Answer:
        """Make one call, repeated where that is safe, and return its answer.

        :param path: from the base URL on; it may be logged, so it must hold no personal data.
        :param json: sent as the body.
        :param repeatable: whether doing it twice is the same as doing it once; by the method when None.
        :raises Unavailable: not carried out, or safe to repeat; later it may succeed.
        :raises NotAuthorised: the credential is refused.
        :raises Rejected: refused for good.
        :raises UnknownOutcome: sent, not answered, and not repeatable.
        """
        method = method.upper()
        call = _Call(
            method=method,
            path="/" + path.lstrip("/"),
            content=None if json is None else orjson.dumps(json),
            params=params,
            headers={**({} if json is None else {"content-type": "application/json"}), **(headers or {})},
            repeatable=method in REPEATABLE_METHODS if repeatable is None else repeatable,
            deadline=min(time.monotonic() + self.system.timeouts.total, self._deadline()),
        )
        policy = self.system.retries
        backoff = wait_random_exponential(multiplier=policy.first, max=policy.longest)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            asked = error.trouble.retry_after if isinstance(error, _Again) else None
            return max(asked or 0.0, backoff(state))

        def hopeless(state: RetryCallState) -> bool:
            return stop_after_attempt(policy.attempts)(state) or state.upcoming_sleep > call.left()

        try:
            for attempt in Retrying(retry=retry_if_exception_type(_Again), wait=wait, stop=hopeless, reraise=True):
                with attempt:
                    return self._attempt(call)
        except _Again as error:
            raise error.trouble from None
        raise AssertionError("unreachable")  # tenacity returns or raises

    def get(self, path: str, *, params: Mapping[str, str] | None = None) -> Answer:
        """Make a GET call; see `request`."""
        return self.request("GET", path, params=params)

    def post(self, path: str, json: object, *, repeatable: bool = False) -> Answer:
        """Make a POST call; see `request`."""
        return self.request("POST", path, json=json, repeatable=repeatable)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Let all calls of a block end within `seconds`, whatever each of them alone could take."""
        former = self._deadline()
        self._until.moment = min(time.monotonic() + seconds, former)
        try:
            yield
        finally:
            self._until.moment = former

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"HttpClient({self.system.name})"

    def _deadline(self) -> float:
        return float(getattr(self._until, "moment", math.inf))

    def _attempt(self, call: _Call) -> Answer:
        """Try the base URLs in turn, each unless its circuit is open."""
        shut: list[Unavailable] = []
        failed: list[_Again] = []
        for base_url, circuit in self._circuits:
            try:
                admission = circuit.admit()
            except Unavailable as error:
                shut.append(error)
                continue
            try:
                return self._at(base_url, circuit, admission, call)
            except _Again as error:
                failed.append(error)
                if isinstance(error, _AgainHere):
                    break
        if failed:
            raise failed[-1]
        raise min(shut, key=lambda error: error.retry_after or 0.0)

    def _at(self, base_url: str, circuit: Circuit, admission: Admission, call: _Call) -> Answer:
        try:
            answer, token = self._authorised(base_url, call)
        except NEVER_SENT as error:
            circuit.failed()
            raise _Again(Unavailable(self.system.name, f"{call}: no connection ({type(error).__name__})")) from None
        except httpx.HTTPError as error:
            circuit.failed()
            self._unanswered(call, type(error).__name__)
        pause = pause_asked(answer.status, answer.headers)
        if answer.status == 429 or (pause and answer.status < 500):
            self._limiter.pause(pause or PAUSE_UNSAID)
        if answer.status >= 500:
            circuit.failed(pause)
        else:
            circuit.succeeded(admission)
        if 200 <= answer.status < 300:
            return answer
        self._refused(call, answer, pause, token)
        raise AssertionError("unreachable")

    def _authorised(self, base_url: str, call: _Call) -> tuple[Answer, Token | None]:
        """Send with the credential, and again with a new token when the system no longer takes the old."""
        if self._tokens is None:
            return self._send(base_url, call, self._fixed_auth()), None
        token = self._tokens.token()
        answer = self._send(base_url, call, {"authorization": f"Bearer {token.value}"})
        if answer.status == 401:  # refused before anything was done, so any call may be repeated
            token = self._tokens.token(refused=token)
            answer = self._send(base_url, call, {"authorization": f"Bearer {token.value}"})
        return answer, token

    def _fixed_auth(self) -> dict[str, str]:
        match self.system.auth:
            case Bearer(token):
                return {"authorization": f"Bearer {token.get_secret_value()}"}
            case Basic(username, password):
                request = httpx.Request("GET", "http://unused")
                flow = httpx.BasicAuth(username, password.get_secret_value()).auth_flow(request)
                return {"authorization": next(flow).headers["authorization"]}
            case ApiKey(header, key):
                return {header: key.get_secret_value()}
            case _:
                return {}

    def _send(self, base_url: str, call: _Call, auth: Mapping[str, str]) -> Answer:
        if call.left() <= 0:
            raise Unavailable(self.system.name, f"{call}: no time left for it")
        self._limiter.take(patience=call.left())
        limits = self.system.timeouts
        began = time.monotonic()
        left = max(call.left(), 0.1)
        query = self.system.query
        content = bytearray()
        with self._http.stream(
            call.method,
            base_url + call.path + (f"?{query.get_secret_value()}" if query else ""),
            content=call.content,
            params=None if query else call.params,
            headers={**call.headers, **auth},
            timeout=httpx.Timeout(
                connect=min(limits.connect, left),
                read=min(limits.read, left),
                write=min(limits.write, left),
                pool=min(limits.pool, left),
            ),
        ) as response:
            for chunk in response.iter_bytes():
                content += chunk
                if len(content) > self.system.longest_answer:
                    raise httpx.ReadError(f"answer longer than {self.system.longest_answer} bytes")
                if time.monotonic() - began > min(limits.answer, left):
                    raise httpx.ReadTimeout("the answer does not end")
        log.debug("%s: %s: %s in %.3f s", self.system.name, call, response.status_code, time.monotonic() - began)
        return Answer(status=response.status_code, headers=response.headers, content=bytes(content))

    def _unanswered(self, call: _Call, what: str) -> None:
        if call.repeatable:
            raise _Again(Unavailable(self.system.name, f"{call}: no answer ({what})")) from None
        raise UnknownOutcome(self.system.name, f"{call}: sent, no answer ({what})") from None

    def _refused(self, call: _Call, answer: Answer, pause: float | None, token: Token | None) -> None:
        status = answer.status
        detail = mask(answer.content.decode("utf-8", "replace"), self._secrets(token), longest=300)
        message = f"{call}: {status} {detail}"
        if status in (401, 403):
            raise NotAuthorised(self.system.name, message, UNAUTHORISED_FOR, _parsed(answer))
        if status == 429:
            raise _AgainHere(Unavailable(self.system.name, message, pause or PAUSE_UNSAID))
        if status in BUSY or (400 <= status < 500 and pause is not None):
            raise _AgainHere(Unavailable(self.system.name, message, pause))
        if status in NOT_CARRIED_OUT or (status >= 500 and call.repeatable):
            raise _Again(Unavailable(self.system.name, message, pause))
        if status >= 500:
            raise UnknownOutcome(self.system.name, message)
        raise Rejected(self.system.name, message, status, _parsed(answer))

    def _secrets(self, token: Token | None) -> list[str]:
        found = self._tokens.secrets() if self._tokens else []
        found += [
            value.split()[-1] for value in self._fixed_auth().values()
        ]  # as it is sent, Basic's encoding included
        if isinstance(self.system.auth, Basic):
            found.append(self.system.auth.password.get_secret_value())
        if self.system.query:
            found += _ways_to_show(self.system.query.get_secret_value())
        return [*found, *([token.value] if token else [])]


def _ways_to_show(query: str) -> Iterator[str]:
    """Return what a system may say of a query that it was sent: as it was, decoded, or encoded by its own habits."""
    yield query
    for part in query.split("&"):
        value = part.partition("=")[2] or part
        plain = unquote_plus(value)
        yield from (value, plain, quote(plain, safe=""))


def _parsed(answer: Answer) -> object:
    try:
        return answer.json()
    except ValueError:
        return None


class _AgainHere(_Again):
    """Another attempt makes sense, another base URL does not: the system itself answered."""


_STRUCTURED = re.compile(r"(?:^|[;,\s])(remaining|reset|r|t)\s*=\s*(\d+)", re.IGNORECASE)
YEAR_IN_SECONDS = 366 * 86_400


def pause_asked(status: int, headers: Mapping[str, str], *, now: float | None = None) -> float | None:
    """Return the seconds that a system asks callers to wait, None when it asks for nothing.

    Read are `Retry-After` (RFC 9110, 10.2.3: seconds or a date), and, where nothing is left of a window, the
    RateLimit headers: `RateLimit` (IETF httpapi draft, both its forms), `RateLimit-*` and `X-RateLimit-*` (a
    reset in seconds or as a Unix time), `X-HubSpot-RateLimit-*` (an interval in milliseconds).

    :param now: Unix time, for the forms that name a moment.
    """
    now = time.time() if now is None else now
    asked = _retry_after(headers.get("retry-after"), now) if status >= 300 or status == 202 else None
    if asked is None:
        asked = _window_used_up(headers, now)
    return None if asked is None else min(max(asked, 0.0), LONGEST_PAUSE)


def _retry_after(value: str | None, now: float) -> float | None:
    if value is None:
        return None
    if (seconds := _number(value)) is not None:
        return seconds
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now


def _window_used_up(headers: Mapping[str, str], now: float) -> float | None:
    structured = {key.lower(): float(figure) for key, figure in _STRUCTURED.findall(headers.get("ratelimit", ""))}
    remaining = structured.get("remaining", structured.get("r"))
    reset = structured.get("reset", structured.get("t"))
    for prefix in ("ratelimit", "x-ratelimit"):
        if remaining is None:
            remaining = _number(headers.get(f"{prefix}-remaining"))
            reset = _number(headers.get(f"{prefix}-reset"))
    if remaining is None:
        remaining = _number(headers.get("x-hubspot-ratelimit-remaining"))
        interval = _number(headers.get("x-hubspot-ratelimit-interval-milliseconds"))
        reset = None if interval is None else interval / 1000
    if remaining is None or remaining > 0 or reset is None:
        return None
    return reset - now if reset > YEAR_IN_SECONDS else reset


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value is not None else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None
