"""Waybill's own figures for a monitoring system: how much waits, for how long, and whether alerts would arrive.

All are gauges: what is there now. How they leave is Airflow's own metrics client, in `waybill.metrics`; it repeats the
last value for as long as its process lives. So what must not stand still unnoticed is sent as the moment at which it
was, and not as its age.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, text

from include.contracts.registry import contracts
from include.monitoring.alerts.messages import Kind
from include.monitoring.watching.signs import OUTSIDE
from include.monitoring.watching.watch import limits
from include.monitoring.watching.wellbeing import unwell

CASE_STATES = ("pending", "running", "waiting", "quarantined")
EFFECT_STATES = ("pending", "sending", "failed", "unknown", "dead")


@dataclass(frozen=True)
class Metric:
    """What a figure means, and by what it is split."""

    meaning: str
    tags: tuple[str, ...] = ()


METRICS: Mapping[str, Metric] = {
    "waybill.cases": Metric("Cases that are not closed", ("workflow", "state")),
    "waybill.cases_late": Metric("Cases whose service level is missed, and that are not closed", ("workflow",)),
    "waybill.inbox_oldest_seconds": Metric(
        "How long the oldest case has been due that no run has taken", ("workflow",)
    ),
    "waybill.effects": Metric(
        "Effects that are not sent; those that a person withdrew are left out", ("system", "state")
    ),
    "waybill.effects_oldest_seconds": Metric("How long the oldest effect has been due that is not sent", ("system",)),
    "waybill.alerts": Metric("Open alerts, quiet ones too", ("kind",)),
    "waybill.alerts_quiet": Metric("Open alerts that are acknowledged, snoozed or in maintenance", ("kind",)),
    "waybill.alerts_well": Metric("1 when the next alert would arrive, else 0"),
    "waybill.figures_timestamp_seconds": Metric("When these figures were counted, in seconds since 1970"),
    "waybill.life_sign_timestamp_seconds": Metric(
        "When a part of Airflow or of the alerts gave its last sign of life, in seconds since 1970", ("part",)
    ),
    "waybill.life_sign_limit_seconds": Metric(
        "How old that sign may be when the figures are counted; the monitor outside has no limit", ("part",)
    ),
}
"""Every figure that is sent, by its name; Prometheus shows `waybill.cases` as `airflow_waybill_cases`."""


@dataclass(frozen=True)
class Figure:
    """One value."""

    name: str
    value: float
    tags: Mapping[str, str]


# One branch for each partial index, as on the board.
_CASES = """
    select workflow, state, count(*) from (
        select workflow, state from cases where state = 'pending'
        union all select workflow, state from cases where state = 'running'
        union all select workflow, state from cases where state in ('quarantined', 'waiting')
    ) as open group by 1, 2"""
_LATE = """
    select workflow, count(*) from service_levels
    where ended_at is null and warn_at < now() and due_at < now() and step is null group by 1"""
_INBOX = """
    select w.workflow, extract(epoch from now() - c.oldest) from unnest(cast(:workflows as text[])) as w(workflow)
    cross join lateral (select min(available_at) as oldest from cases
                        where workflow = w.workflow and state = 'pending' and available_at <= now()) c
    where c.oldest is not null"""
_EFFECTS = """
    select system, state, count(*) from (
        select system, state from effects where state in ('pending', 'failed')
        union all select system, state from effects where state in ('sending', 'unknown')
        union all select system, state from effects where state = 'dead' and not starts_with(error, 'withdrawn: ')
    ) as open group by 1, 2"""
_LEDGER = """
    select system, extract(epoch from now() - min(available_at)) from effects
    where state in ('pending', 'failed') and available_at <= now() group by 1"""
_ALERTS = """
    select kind, count(*), count(*) filter (where quiet is not null) from alerts where state = 'open' group by 1"""


def figures(connection: Connection) -> Iterator[Figure]:
    """Return every figure as it is now. What is known and has nothing is a zero: a value that is gone says nothing."""
    declared = contracts()
    workflows = list(declared)
    systems = sorted({system.role for each in declared.values() for system in each.systems})
    cases = {(row[0], row[1]): row[2] for row in connection.execute(text(_CASES))}
    late, inbox = _by_name(connection, _LATE), _by_name(connection, _INBOX, workflows=workflows)
    for workflow in workflows:
        for state in CASE_STATES:
            yield Figure("waybill.cases", cases.get((workflow, state), 0), {"workflow": workflow, "state": state})
        yield Figure("waybill.cases_late", late.get(workflow, 0), {"workflow": workflow})
        yield Figure("waybill.inbox_oldest_seconds", inbox.get(workflow, 0), {"workflow": workflow})
    effects = {(row[0], row[1]): row[2] for row in connection.execute(text(_EFFECTS))}
    ledger = _by_name(connection, _LEDGER)
    for system in sorted({*systems, *(name for name, _ in effects)}):
        for state in EFFECT_STATES:
            yield Figure("waybill.effects", effects.get((system, state), 0), {"system": system, "state": state})
        yield Figure("waybill.effects_oldest_seconds", ledger.get(system, 0), {"system": system})
    alerts = {row[0]: (row[1], row[2]) for row in connection.execute(text(_ALERTS))}
    for kind in Kind:
        is_open, quiet = alerts.get(kind, (0, 0))
        yield Figure("waybill.alerts", is_open, {"kind": kind})
        yield Figure("waybill.alerts_quiet", quiet, {"kind": kind})
    yield Figure("waybill.alerts_well", 0 if unwell(connection) else 1, {})
    counted_at = connection.execute(text("select extract(epoch from now())")).scalar_one()
    yield Figure("waybill.figures_timestamp_seconds", float(counted_at), {})
    may_be = limits()
    signs = "select part, extract(epoch from at) from life_signs where part = any(:parts)"
    for part, moment in _by_name(connection, signs, parts=[*may_be, OUTSIDE]).items():
        tags = {"part": part.replace(" ", "_")}
        yield Figure("waybill.life_sign_timestamp_seconds", moment, tags)
        if part in may_be:
            yield Figure("waybill.life_sign_limit_seconds", may_be[part].total_seconds(), tags)


def _by_name(connection: Connection, query: str, **values: object) -> dict[str, float]:
    return {str(row[0]): float(row[1]) for row in connection.execute(text(query), values)}
