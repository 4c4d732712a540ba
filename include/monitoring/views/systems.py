"""How each outside system stands: its circuit, its rate limits, its token, its queue in the ledger, its last success.

It only reads what the clients share; it calls no system.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from sqlalchemy import Connection, Row, text

from include.contracts.registry import contracts
from include.integrations.http import RateLimit

CONNECTION = "waybill_"
"""How the name of the connection of a role begins; its clients share everything under that name."""

_CIRCUITS = "select name, state, failures, retry_at, changed_at from circuits order by name"
_LIMITS = """
    select name, extract(epoch from due_at - clock_timestamp())::float8 as due_in,
           case when paused_until > clock_timestamp() then paused_until end as paused_until
    from rate_limits order by name"""
_TOKENS = "select name, expires_at, refusal, updated_at from credentials order by name"
_QUEUES = """
    select system, count(*) as waiting, count(*) filter (where state = 'failed') as failed, min(created_at) as oldest
    from effects where state in ('pending', 'failed') group by system"""
_SENT = """
    select system, (select max(sent_at) from effects e where e.system = v.system and e.state = 'sent') as at
    from unnest(cast(:systems as text[])) as v(system)"""


@dataclass(frozen=True)
class Circuit:
    """Whether calls are let through to one address.

    :param state: closed: they are; open: none is until `retry_at`; half_open: one call is tried.
    :param failures: calls in a row that were not answered properly.
    """

    at: str
    state: str
    failures: int
    retry_at: datetime | None


@dataclass(frozen=True)
class Limit:
    """A rate limit.

    :param left: calls that may go at once, of `at_once`; None where the name tells no limit.
    :param paused_until: when the system asked to be left alone until then.
    """

    name: str
    left: int | None
    at_once: int | None
    paused_until: datetime | None


@dataclass(frozen=True)
class Token:
    """An OAuth 2 access token; it is renewed by itself shortly before it expires.

    :param refusal: why the system does not accept the credential; a person must connect it again.
    """

    expires_at: datetime | None
    refusal: str | None
    since: datetime


@dataclass
class SystemStanding:
    """One system.

    :param name: its role; the name of its connection where that is of no role.
    :param waiting: effects to be sent, those that failed and are tried again included.
    :param oldest: when the first of them was planned.
    """

    name: str
    circuits: list[Circuit] = field(default_factory=list)
    limits: list[Limit] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)
    waiting: int = 0
    failed: int = 0
    oldest: datetime | None = None
    last_success: datetime | None = None

    @property
    def well(self) -> bool:
        """Whether calls are let through, and its credential is accepted."""
        return all(each.state == "closed" for each in self.circuits) and not any(each.refusal for each in self.tokens)


def systems(connection: Connection) -> list[SystemStanding]:
    """Return every role that a contract names, and whatever else was called or waits in the ledger."""
    found = {role: SystemStanding(role) for role in sorted(operations())}
    for name, rows in _by_system(connection.execute(text(_CIRCUITS)).all(), " at "):
        found.setdefault(name, SystemStanding(name)).circuits = [
            Circuit(row.name.partition(" at ")[2], row.state, row.failures, row.retry_at) for row in rows
        ]
    for name, rows in _by_system(connection.execute(text(_LIMITS)).all(), "/"):
        found.setdefault(name, SystemStanding(name)).limits = [_limit(row) for row in rows]
    for name, rows in _by_system(connection.execute(text(_TOKENS)).all(), "/"):
        found.setdefault(name, SystemStanding(name)).tokens = [
            Token(row.expires_at, row.refusal, row.updated_at) for row in rows
        ]
    for row in connection.execute(text(_QUEUES)):
        queue = found.setdefault(row.system, SystemStanding(row.system))
        queue.waiting, queue.failed, queue.oldest = row.waiting, row.failed, row.oldest
    for row in connection.execute(text(_SENT), {"systems": list(found)}):
        found[row.system].last_success = row.at
    return list(found.values())


def operations() -> dict[str, list[str]]:
    """Return role -> what the contracts have it asked to do."""
    declared: dict[str, set[str]] = {}
    for of in contracts().values():
        for system in of.systems:
            declared.setdefault(system.role, set()).update(entry.operation for entry in system.operations)
    return {role: sorted(names) for role, names in declared.items()}


def _by_system(
    rows: Sequence[Row[tuple[object, ...]]], mark: str
) -> Iterable[tuple[str, list[Row[tuple[object, ...]]]]]:
    """Group rows by the system that their names begin with."""

    def system(row: Row[tuple[object, ...]]) -> str:
        return str(row.name).partition(mark)[0].removeprefix(CONNECTION)

    return [(name, list(group)) for name, group in groupby(sorted(rows, key=system), key=system)]


def _limit(row: Row[tuple[object, ...]]) -> Limit:
    name = str(row.name).partition("/")[2]
    try:
        limit = RateLimit.named(name)
    except ValueError:
        return Limit(name, None, None, row.paused_until)
    return Limit(name, limit.left(row.due_in), limit.at_once, row.paused_until)
