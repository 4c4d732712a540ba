"""Sends Waybill's own figures through Airflow's metrics client, to wherever Airflow's own go, if they go."""

from __future__ import annotations

from functools import cache

from airflow.configuration import conf
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from sqlalchemy import Engine

from include.monitoring.watching.metrics import figures

SWITCHES = ("otel_on", "statsd_on", "statsd_datadog_enabled")


def is_on() -> bool:
    """Whether Airflow sends metrics at all."""
    return any(conf.getboolean("metrics", switch, fallback=False) for switch in SWITCHES)


@cache
def begin() -> None:
    """Make Airflow's client ready in a process where Airflow does not: the one that triggers run in."""
    stats.initialize(
        factory=stats_utils.get_stats_factory(), export_legacy_names=conf.getboolean("metrics", "legacy_names_on")
    )


def send(engine: Engine) -> int:
    """Send every figure; return how many."""
    with engine.connect() as connection:
        found = list(figures(connection))
    for figure in found:
        stats.gauge(figure.name, figure.value, tags=dict(figure.tags))
    return len(found)
