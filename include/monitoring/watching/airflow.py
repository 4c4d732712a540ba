"""Asks Airflow how it is, over its public REST API: parts that live, files it cannot read, DAGs that are overdue.

It asks and changes nothing. Without an account it asks for the health page only, which needs none.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
from pydantic import SecretStr

log = logging.getLogger(__name__)

PARTS = ("scheduler", "triggerer", "dag_processor", "metadatabase")
API_SERVER = "api_server"
TIMEOUT = httpx.Timeout(10.0, connect=3.0)
PAGE = 100
"""Rows that one answer holds; Airflow's default maximum."""
LONGEST_ERROR = 200
UNEXPECTED = (httpx.HTTPError, LookupError, TypeError, ValueError)
"""No answer, an error for an answer, or one that is not what was asked for."""

_trusted = functools.cache(httpx.create_ssl_context)
"""Reading the certificates takes 50 ms of a process that looks every few seconds."""


@dataclass(frozen=True)
class Account:
    """How Airflow's API is reached, and as whom.

    :param url: base address, as a task reaches it.
    :param login: an account that may look; None asks for the health page only.
    """

    url: str
    login: str | None = None
    password: SecretStr | None = None


@dataclass(frozen=True)
class ImportTrouble:
    """A file that Airflow cannot read.

    :param id: the same as long as the file stays broken.
    :param error: the last line of what Python said.
    """

    id: int
    filename: str
    error: str


@dataclass(frozen=True)
class Overdue:
    """A DAG with a schedule, and when its next run was due: one that was not made in time, and none is under way."""

    dag_id: str
    due: datetime


@dataclass(frozen=True)
class Seen:
    """What Airflow said.

    :param alive: its parts that live; empty when it did not answer.
    :param asked: whether it also told of files; without an account, or a good answer, it did not.
    :param refused: whether it does not take the account.
    :param dags: ids of the DAGs that it knows; None when it was not asked, or did not tell.
    :param paused: those that are paused and have a schedule, with their next run, which may be due or not.
    """

    alive: frozenset[str] = frozenset()
    asked: bool = False
    refused: bool = False
    import_errors: list[ImportTrouble] = field(default_factory=list)
    dags: frozenset[str] | None = None
    overdue: list[Overdue] = field(default_factory=list)
    paused: list[Overdue] = field(default_factory=list)


def ask(account: Account, *, overdue_since: datetime | None) -> Seen:
    """Return what Airflow says of itself; a part that does not answer is one that does not live.

    What it says of its parts holds, whatever becomes of the questions after it.

    :param overdue_since: a run that was due before this moment is missed; None: it is not asked for its DAGs, which
        costs it more than all the rest.
    """
    with httpx.Client(base_url=account.url, timeout=TIMEOUT, transport=_transport()) as api:
        try:
            alive = _alive(api)
        except UNEXPECTED as error:
            log.warning("Airflow does not say how it is: %s", type(error).__name__)
            return Seen()
        if account.login is None:
            return Seen(alive)
        try:
            return _asked(api, account, alive, overdue_since)
        except UNEXPECTED as error:
            log.warning("Airflow does not say which files and DAGs it has: %s", type(error).__name__)
            status = error.response.status_code if isinstance(error, httpx.HTTPStatusError) else None
            return Seen(alive, refused=status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN))


def _asked(api: httpx.Client, account: Account, alive: frozenset[str], overdue_since: datetime | None) -> Seen:
    if not _logged_in(api, account):
        return Seen(alive, refused=True)
    errors = [
        ImportTrouble(int(row["import_error_id"]), str(row["filename"]), _last_line(row["stack_trace"]))
        for row in _rows(api, "/api/v2/importErrors", "import_errors")
    ]
    if overdue_since is None:
        return Seen(alive, asked=True, import_errors=errors)
    dags = list(_rows(api, "/api/v2/dags", "dags", exclude_stale="true"))
    overdue = [
        Overdue(str(dag["dag_id"]), due)
        for dag in dags
        if not dag["is_paused"]
        and (due := _moment(dag["next_dagrun_run_after"])) is not None
        and due < overdue_since
        and not _under_way(api, str(dag["dag_id"]))
    ]
    return Seen(
        alive,
        asked=True,
        import_errors=errors,
        dags=frozenset(str(dag["dag_id"]) for dag in dags),
        overdue=overdue,
        paused=_paused(dags),
    )


@contextmanager
def signed_in(account: Account) -> Iterator[httpx.Client | None]:
    """Give a client of Airflow's API that is signed in; None without an account, or when it is not taken.

    :raises httpx.HTTPError: when Airflow does not answer.
    """
    with httpx.Client(base_url=account.url, timeout=TIMEOUT, transport=_transport()) as api:
        yield api if account.login is not None and _logged_in(api, account) else None


def _transport() -> httpx.HTTPTransport:
    return httpx.HTTPTransport(retries=1, verify=_trusted())


def _alive(api: httpx.Client) -> frozenset[str]:
    answer = api.get("/api/v2/monitor/health")
    if answer.is_server_error:
        return frozenset()
    found: dict[str, Any] = answer.raise_for_status().json()
    return frozenset({API_SERVER, *(part for part in PARTS if found.get(part, {}).get("status") == "healthy")})


def _logged_in(api: httpx.Client, account: Account) -> bool:
    secret = account.password.get_secret_value() if account.password else ""
    answer = api.post("/auth/token", json={"username": account.login, "password": secret})
    if answer.is_client_error:
        return False
    api.headers["Authorization"] = f"Bearer {answer.raise_for_status().json()['access_token']}"
    return True


def _rows(api: httpx.Client, path: str, name: str, **params: str) -> Iterator[dict[str, Any]]:
    offset = 0
    while True:
        page = api.get(path, params={"limit": PAGE, "offset": offset, **params}).raise_for_status().json()[name]
        yield from page
        if len(page) < PAGE:
            return
        offset += PAGE


def _paused(dags: Iterable[dict[str, Any]]) -> list[Overdue]:
    return [
        Overdue(str(dag["dag_id"]), due)
        for dag in dags
        if dag["is_paused"] and (due := _moment(dag["next_dagrun_run_after"])) is not None
    ]


def _under_way(api: httpx.Client, dag_id: str) -> bool:
    path = f"/api/v2/dags/{dag_id}/dagRuns?state=queued&state=running&limit=1"
    found = api.get(path).raise_for_status().json()
    return bool(found["dag_runs"])


def _moment(value: str | None) -> datetime | None:
    return datetime.fromisoformat(value.replace("Z", "+00:00")) if value else None


def _last_line(stack_trace: str | None) -> str:
    """The error's type and place; what follows the colon may quote the file."""
    lines = (stack_trace or "").strip().splitlines() or [""]
    kind = re.match(r"[\w.]+", lines[-1].strip())
    places = re.findall(r'File "([^"]+)", line (\d+)', stack_trace or "")
    where = f" at line {places[-1][1]} of {places[-1][0].rsplit('/', 1)[-1]}" if places else ""
    return f"{kind.group() if kind else 'an error'}{where}"[:LONGEST_ERROR]
