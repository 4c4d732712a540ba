"""A circuit breaker that every process shares: a system that is down is left alone, and probed by one caller.

It counts failures in a row; it does not know what a failure is. One row per circuit, changed by single
statements: pybreaker counts per process, and lets every process probe at once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from sqlalchemy import Engine, text

from include.integrations.http.errors import Unavailable

log = logging.getLogger(__name__)

ADMIT = text("""
with probe as (
    update circuits set state = 'half_open', changed_at = clock_timestamp(),
                        probe_until = clock_timestamp() + :probe * interval '1 second'
    where name = :name and ((state = 'open' and retry_at <= clock_timestamp())
                            or (state = 'half_open' and probe_until <= clock_timestamp()))
    returning name
)
select c.state, c.failures, exists (select from probe) as probing,
       extract(epoch from case c.state when 'open' then c.retry_at else c.probe_until end
                          - clock_timestamp())::float8 as wait
from circuits c where c.name = :name
""")

FAILED = text("""
insert into circuits as c (name, state, failures, openings, retry_at)
select :name, case when first.opens then 'open' else 'closed' end, 1, first.opens::int,
       case when first.opens then clock_timestamp() + greatest(:cooldown, :asked) * interval '1 second' end
from (select :threshold <= 1 as opens) first
on conflict (name) do update
set failures = c.failures + 1, changed_at = clock_timestamp(), probe_until = null,
    state = case when c.state <> 'closed' or c.failures + 1 >= :threshold then 'open' else 'closed' end,
    openings = case when c.state = 'half_open' or (c.state = 'closed' and c.failures + 1 >= :threshold)
                    then c.openings + 1 else c.openings end,
    retry_at = case when c.state = 'open'
                    then greatest(c.retry_at, clock_timestamp() + :asked * interval '1 second')
                    when c.state = 'half_open' or c.failures + 1 >= :threshold
                    then clock_timestamp() + interval '1 second'
                         * greatest(least(:cooldown * 2 ^ least(c.openings, 20), :longest), :asked) end
returning state, failures, extract(epoch from retry_at - clock_timestamp())::float8 as wait
""")

# A probe's success closes the circuit; any other success only ends a row of failures.
SUCCEEDED = text("""
update circuits set failures = 0, openings = 0, state = 'closed', retry_at = null, probe_until = null,
                    changed_at = clock_timestamp()
where name = :name and (state = 'closed' or (:probing and state = 'half_open'))
""")


@dataclass(frozen=True)
class CircuitPolicy:
    """When a circuit opens, and for how long.

    :param threshold: failures in a row, over all processes, that open it.
    :param cooldown: seconds until the first probe; doubled after each probe that fails.
    :param longest: seconds that the cooldown never exceeds.
    :param probe: seconds that a probe may take before another caller may probe.
    """

    threshold: int = 5
    cooldown: float = 15.0
    longest: float = 300.0
    probe: float = 60.0


@dataclass(frozen=True)
class Admission:
    """Leave to make one call."""

    probing: bool
    failures: int


class Circuit:
    """The circuit of one base URL of one system."""

    def __init__(self, engine: Engine, system: str, name: str, policy: CircuitPolicy) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._system = system
        self._policy = policy
        self.name = name

    def admit(self) -> Admission:
        """Return leave to call.

        :raises Unavailable: when the circuit is open, or another caller is probing.
        """
        with self._engine.connect() as connection:
            row = connection.execute(ADMIT, {"name": self.name, "probe": self._policy.probe}).one_or_none()
        if row is None or row.state == "closed":
            return Admission(probing=False, failures=row.failures if row else 0)
        if row.probing:
            log.info("circuit %s: probing after %s failures in a row", self.name, row.failures)
            return Admission(probing=True, failures=row.failures)
        wait = max(row.wait or 0.0, 1.0)
        raise Unavailable(
            self._system, f"left alone after {row.failures} failures in a row, next try in {wait:.0f} s", wait
        )

    def succeeded(self, admission: Admission) -> None:
        """Record that the call which `admission` allowed was answered."""
        if admission.probing or admission.failures:
            with self._engine.connect() as connection:
                connection.execute(SUCCEEDED, {"name": self.name, "probing": admission.probing})
        if admission.probing:
            log.info("circuit %s: closed", self.name)

    def failed(self, retry_after: float | None = None) -> None:
        """Record a call that the system did not answer properly.

        :param retry_after: seconds that the system asked for.
        """
        policy = self._policy
        values = {
            "name": self.name,
            "threshold": policy.threshold,
            "cooldown": policy.cooldown,
            "longest": policy.longest,
            "asked": retry_after or 0.0,
        }
        with self._engine.connect() as connection:
            row = connection.execute(FAILED, values).one()
        if row.state == "open":
            log.warning("circuit %s: open after %s failures in a row, for %.0f s", self.name, row.failures, row.wait)
