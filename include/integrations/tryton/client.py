"""Tryton's JSON-RPC over the resilient HTTP client: a session, calls on models, and errors that say what to do next.

It knows how Tryton is called, and nothing of purchasing.
"""

from __future__ import annotations

import base64
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Self

from pydantic import SecretStr

from include.integrations.http import (
    HttpClient,
    HttpSystem,
    NotAuthorised,
    Rejected,
    SystemTrouble,
    Unavailable,
    UnknownOutcome,
    mask,
)
from include.integrations.tryton.encoding import decode, encode

Record = dict[str, Any]
Domain = Sequence[Any]

LONGEST_MESSAGE = 300  # characters kept of an error; Tryton's can have 80,000
MOST_WARNINGS = 5  # warnings of one call that are answered, one after another

_WARNING_KIND = re.compile(r"^[0-9a-f]{32}\.")
_FOR_A_MOMENT = re.compile(
    r"must be unique|serialize access|deadlock|lock timeout|already exists|that don.t exist|you can ?not call",
    re.IGNORECASE,
)
"""Refusals that come of somebody else's doing the same at the same time; Tryton has no code for them."""


class Refused(SystemTrouble):
    """Tryton rolled the call back and said why.

    :param transient: the same call may succeed later: another one was in its way.
    :param warning: the name of the warning, when Tryton asks whether to go on all the same.
    """

    def __init__(self, system: str, message: str, *, transient: bool = False, warning: str | None = None) -> None:
        super().__init__(system, mask(" ".join(message.split()), longest=LONGEST_MESSAGE))
        self.transient = transient
        self.warning = warning


@dataclass(frozen=True)
class _Session:
    header: str = field(repr=False)
    context: Mapping[str, Any]


class TrytonClient:
    """Calls one database of one Tryton server, as one user. Safe to share between threads."""

    def __init__(self, http: HttpClient, *, database: str, login: str, password: SecretStr) -> None:
        self._http = http
        self._path = f"/{database}/rpc/"
        self._login = login
        self._password = password
        self._session: _Session | None = None
        self._lock = threading.Lock()
        self._local = threading.local()

    @property
    def name(self) -> str:
        """The system's name."""
        return self._http.system.name

    @property
    def system(self) -> HttpSystem:
        """How it is called."""
        return self._http.system

    @property
    def context(self) -> Mapping[str, Any]:
        """The user's preferences, such as `company`, which every call carries."""
        return self._open(None).context

    def within(self, seconds: float) -> AbstractContextManager[None]:
        """Let all calls of a block end within `seconds`."""
        return self._http.within(seconds)

    @contextmanager
    def answering(self, *kinds: str) -> Iterator[None]:
        """Go on, within a block and in this thread, at warnings of these kinds; any other one is a `Refused`."""
        former = getattr(self._local, "answered", ())
        self._local.answered = (*former, *kinds)
        try:
            yield
        finally:
            self._local.answered = former

    def search_read(
        self,
        model: str,
        domain: Domain,
        fields: Sequence[str],
        *,
        limit: int | None = None,
        inactive: bool = False,
        context: Mapping[str, Any] = MappingProxyType({}),
    ) -> list[Record]:
        """Return the records that `domain` describes, by id.

        :param inactive: also those that were put out of use.
        :param context: what fields are computed by, such as `locations`.
        """
        found: list[Record] = self.call(
            f"model.{model}.search_read",
            list(domain),
            0,
            limit,
            [["id", "ASC"]],
            list(fields),
            repeatable=True,
            context={**context, "active_test": False} if inactive else context,
        )
        return found

    def create(self, model: str, values: Record, *, seen: Mapping[str, str] | None = None) -> int:
        """Create one record and return its id.

        :param seen: `model,id` -> `_timestamp` of records that are changed with it, and may not have been since.
        """
        context: Record = {"_timestamp": dict(seen)} if seen else {}
        return int(self.call(f"model.{model}.create", [values], context=context)[0])

    def write(self, model: str, ids: Sequence[int], values: Record) -> None:
        """Set fields of records. Doing it twice is doing it once, unless `values` creates or adds."""
        self.call(f"model.{model}.write", list(ids), values)

    def button(self, model: str, name: str, ids: Sequence[int]) -> Any:
        """Press a button on records."""
        return self.call(f"model.{model}.{name}", list(ids))

    def call(
        self, method: str, *params: Any, repeatable: bool = False, context: Mapping[str, Any] = MappingProxyType({})
    ) -> Any:
        """Make one call, answering the warnings that are to be answered, and return its result.

        :param repeatable: whether doing it twice is the same as doing it once.
        :param context: what the call carries beside the user's preferences.
        :raises Refused: rolled back, with Tryton's reason.
        :raises Unavailable: not carried out.
        :raises UnknownOutcome: sent and not answered.
        """
        for _ in range(MOST_WARNINGS):
            try:
                return self._authorised(method, params, context, repeatable=repeatable)
            except Refused as refusal:
                kind = _WARNING_KIND.sub("", refusal.warning or "")
                if refusal.warning is None or kind not in getattr(self._local, "answered", ()):
                    raise
                self._authorised("model.res.user.warning.skip", (refusal.warning, False), {}, repeatable=True)
        raise Refused(self.name, f"{method}: more than {MOST_WARNINGS} warnings")

    def forget(self) -> None:
        """Log in anew at the next call, for the user's preferences have changed."""
        with self._lock:
            self._session = None

    def close(self) -> None:
        """Log out and close the connections."""
        session, self._session = self._session, None
        if session is not None:
            try:
                with self._http.within(2):
                    self._post("common.db.logout", (), session.header, repeatable=False)
            except SystemTrouble:
                pass  # the server ends it by itself
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- below: sessions and the wire

    def _authorised(self, method: str, params: Sequence[Any], context: Mapping[str, Any], *, repeatable: bool) -> Any:
        """Call within the session; where Tryton has ended it, within a new one, once: it had not begun the call."""
        session = self._open(None)
        for last in (False, True):
            try:
                return self._post(method, [*params, {**session.context, **context}], session.header, repeatable)
            except NotAuthorised:
                if last:
                    raise
                session = self._open(session)
        raise AssertionError("unreachable")

    def _open(self, ended: _Session | None) -> _Session:
        """Return the session, logged in anew where there is none, or only the one that has ended."""
        with self._lock:
            if self._session is None or self._session is ended:
                self._session = None
                self._session = self._log_in()
            return self._session

    def _log_in(self) -> _Session:
        try:
            answer = self._post(
                "common.db.login", [self._login, {"password": self._password.get_secret_value()}, "en"], None, True
            )
        except NotAuthorised as error:
            raise NotAuthorised(
                self.name,
                f"Tryton does not let {self._login!r} in: correct Login, Password and Schema (the database)"
                " in its connection",
                error.retry_after,
            ) from None
        except Rejected as error:
            raise NotAuthorised(
                self.name, f"Tryton has no database {self._path.split('/')[1]!r}: correct Schema in its connection"
            ) from error
        user, token = answer[0], answer[1]
        header = "Session " + base64.b64encode(f"{self._login}:{user}:{token}".encode()).decode()
        context = self._post("model.res.user.get_preferences", [True, {}], header, True)
        return _Session(header, {**context, "language": "en"})

    def _post(self, method: str, params: Sequence[Any], header: str | None, repeatable: bool) -> Any:
        answer = self._http.request(
            "POST",
            self._path,
            json={"id": 0, "method": method, "params": encode(list(params))},
            headers={"authorization": header} if header else None,
            repeatable=repeatable,
        )
        try:
            said = answer.json()
            failed = said.get("error")
        except (ValueError, AttributeError):
            raise UnknownOutcome(self.name, f"{method}: an answer that is not Tryton's") from None
        if failed is not None:
            raise self._refusal(method, failed)
        return decode(said["result"])

    def _refusal(self, method: str, error: Any) -> SystemTrouble:
        match error:
            case ["UserError", [str(message), *rest]]:
                detail = rest[0] if rest and isinstance(rest[0], str) else ""
                said = f"{message} {detail}"
                return Refused(self.name, said, transient=bool(_FOR_A_MOMENT.search(said[:2_000])))
            case ["UserWarning", [str(name), str(message), *rest]]:
                kind = _WARNING_KIND.sub("", name)
                return Refused(self.name, f"Tryton asks ({kind}): {message}", warning=name)
            case ["ConcurrencyException", message]:
                return Refused(self.name, f"somebody else changed it at the same time: {message}", transient=True)
            case ["LoginException", *_]:
                return NotAuthorised(self.name, "Tryton does not let this user in with a password alone")
            case [str(kind), *_]:
                said = f"{method}: {kind}"
                return Refused(self.name, said, transient=bool(_FOR_A_MOMENT.search(kind[:2_000])))
            case _:
                return Refused(self.name, f"{method}: an error without a reason")


__all__ = ["Domain", "Record", "Refused", "TrytonClient", "Unavailable"]
