"""Who looks at Airflow, and the watchdog that looks after the look: what is watched is `include.monitoring.watching`.

The watchdog is a trigger, for the triggerer lives on when the scheduler dies; it tells what it finds by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.triggers.base import BaseEventTrigger, TriggerEvent
from pydantic import SecretStr

from include.data.database import engine
from include.environment import base_url, current
from include.monitoring.alerts.raising import Alerts
from include.monitoring.watching.airflow import Account
from include.monitoring.watching.watch import ACCOUNT, silent_after, watch_the_look

NEEDED = ("waybill_chat", "waybill_mail", ACCOUNT)
"""Connections without which alerts of a production die silently; what is built in is read by nobody there."""


def connected(connection_id: str) -> bool:
    """Whether Airflow has a connection of this id."""
    return _connection(connection_id) is not None


def lacking() -> list[str]:
    """Return the connections that this environment's alerts cannot do without, and that it has not got."""
    return [name for name in NEEDED if current().name == "production" and not connected(name)]


def account() -> Account:
    """Return how Airflow is asked: by its connection, and without one only for what needs no account."""
    connection = _connection(ACCOUNT)
    if connection is None or not connection.host:
        inside = urlsplit(str(conf.get("core", "execution_api_server_url", fallback="")))
        return Account(f"{inside.scheme}://{inside.netloc}" if inside.netloc else base_url())
    host = connection.host if "://" in connection.host else f"{connection.schema or 'http'}://{connection.host}"
    port = f":{connection.port}" if connection.port else ""
    secret = SecretStr(connection.password) if connection.password else None
    return Account(host.rstrip("/") + port, connection.login or None, secret)


class WatchdogTrigger(BaseEventTrigger):
    """Tells that nobody looks for trouble any more, and fires when somebody looks again.

    :param every: seconds between two looks at the look; None: a fifth of the time after which the look is silent.
    """

    def __init__(self, every: float | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.every = every

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again."""
        return "waybill.watching.WatchdogTrigger", {"every": self.every}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch for ever; what goes wrong is logged, and the look notices a watchdog that gives no sign."""
        since, silent = datetime.now(UTC), False
        every = self.every or silent_after().total_seconds() / 5
        while True:
            was = silent
            try:
                silent = await asyncio.to_thread(stand_in, since)
            except Exception as error:
                self.log.error("the watchdog could not watch: %s", type(error).__name__)
            if was and not silent:
                yield TriggerEvent({"silence": "over"})  # type: ignore[no-untyped-call]
            await asyncio.sleep(every)


def stand_in(since: datetime) -> bool:
    """Watch the look, and deliver what there is to tell when it is silent; return whether it is.

    :param since: when this watchdog began.
    """
    from waybill.alert_delivery import tell_by_chat, tell_by_mail  # noqa: PLC0415 - heavy, and needed on bad days only

    alerts = Alerts(engine())
    silent = watch_the_look(alerts, account(), since=since)
    if silent:
        alerts.publish()
        for tell in (tell_by_chat, tell_by_mail):
            try:
                tell()
            except Exception as error:  # one route that is broken must not close the other
                alerts.problem("watchdog", error)
    return silent


def _connection(connection_id: str) -> Any:
    try:
        return Connection.get(connection_id)
    except AirflowNotFoundException:
        return None
