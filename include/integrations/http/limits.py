"""A rate limit that every process of the deployment shares, and a pause that the outside system asked for.

Only spaces calls; it does not repeat them. GCRA in one statement on one row per limit: pyrate-limiter's
PostgreSQL bucket writes a row per call, locks its whole table without waiting, and creates tables by itself.
"""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass

from sqlalchemy import Engine, text

from include.integrations.http.errors import Unavailable

# The row is locked for this statement only. Who gets a place learns how long to sleep for it: nobody polls.
TAKE = text("""
insert into rate_limits as l (name, due_at, asked_at)
values (:name, clock_timestamp() + :spacing * interval '1 second', clock_timestamp())
on conflict (name) do update
set asked_at = excluded.asked_at,
    due_at = greatest(l.due_at, excluded.asked_at, l.paused_until + :slack * interval '1 second')
             + :spacing * interval '1 second'
where greatest(l.due_at, excluded.asked_at, l.paused_until + :slack * interval '1 second')
      <= excluded.asked_at + (:slack + :patience) * interval '1 second'
returning extract(epoch from due_at - asked_at)::float8 - :spacing - :slack as wait
""")

WAIT = text("""
select extract(epoch from greatest(due_at - :slack * interval '1 second', paused_until)
                          - clock_timestamp())::float8
from rate_limits where name = :name
""")

PAUSE = text("""
insert into rate_limits as l (name, due_at, asked_at, paused_until)
values (:name, clock_timestamp(), clock_timestamp(), clock_timestamp() + :seconds * interval '1 second')
on conflict (name) do update set paused_until = greatest(l.paused_until, excluded.paused_until)
""")


@dataclass(frozen=True)
class RateLimit:
    """At most `calls` in any `seconds`, in whatever window one looks through.

    :param calls: calls allowed, at least 1.
    :param seconds: length of the window.
    :param burst: calls that may go at once after a quiet time; a tenth of `calls` when None. The rest of the
        window is spaced so that burst and spacing together stay within `calls`.
    """

    calls: int
    seconds: float
    burst: int | None = None

    def __post_init__(self) -> None:
        if self.calls < 1 or self.seconds <= 0:
            raise ValueError(f"not a rate limit: {self.calls} calls in {self.seconds} s")
        if self.burst is not None and not 1 <= self.burst <= self.calls:
            raise ValueError(f"a burst of {self.burst} does not fit into {self.calls} calls")

    @property
    def name(self) -> str:
        """What it is called after its system: `90 in 10 s`."""
        return f"{self.calls} in {self.seconds:g} s"

    @classmethod
    def named(cls, name: str) -> RateLimit:
        """Return the limit of a `name`; the name does not tell a burst of its own.

        :raises ValueError: for another name.
        """
        if not (found := re.fullmatch(r"(\d+) in (\S+) s", name)):
            raise ValueError(f"{name!r} is not like 90 in 10 s")
        return cls(int(found[1]), float(found[2]))

    def left(self, due_in: float) -> int:
        """Return how many calls may go now.

        :param due_in: seconds until the limit's theoretical arrival time.
        """
        return max(0, min(self.at_once, math.floor((self.slack - max(due_in, 0.0)) / self.spacing) + 1))

    @property
    def at_once(self) -> int:
        """Calls that may go at once."""
        return self.burst if self.burst is not None else max(1, self.calls // 10)

    @property
    def spacing(self) -> float:
        """Seconds between two calls once the burst is spent."""
        return self.seconds / max(1, self.calls - self.at_once)

    @property
    def slack(self) -> float:
        """Seconds by which calls may come early: what makes a burst possible."""
        return self.spacing * (self.at_once - 1)


class RateLimiter:
    """Takes places under one system's limits."""

    def __init__(self, engine: Engine, system: str, limits: tuple[RateLimit, ...]) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._system = system
        self._limits = limits or (RateLimit(calls=1_000_000, seconds=1),)  # still honours a pause

    def take(self, patience: float) -> None:
        """Sleep until the next call is allowed.

        :param patience: seconds that this call is ready to wait.
        :raises Unavailable: when it would take longer; no place is taken then.
        """
        for name, limit in self._named():
            values = {"name": name, "spacing": limit.spacing, "slack": limit.slack}
            with self._engine.connect() as connection:
                wait = connection.execute(TAKE, {**values, "patience": patience}).scalar_one_or_none()
                if wait is None:
                    wait = connection.execute(WAIT, {"name": name, "slack": limit.slack}).scalar_one()
                    raise Unavailable(self._system, f"its rate limit allows no call for {wait:.0f} s", max(wait, 0.1))
            if wait > 0:
                time.sleep(wait)
                patience -= wait

    def pause(self, seconds: float) -> None:
        """Let no process call before `seconds` have passed: the system said so."""
        if seconds > 0:
            name, _ = self._named()[0]
            with self._engine.connect() as connection:
                connection.execute(PAUSE, {"name": name, "seconds": seconds})

    def _named(self) -> list[tuple[str, RateLimit]]:
        return [(f"{self._system}/{limit.name}", limit) for limit in self._limits]
