"""Who looks at Airflow, and the watchdog that looks for trouble: what is watched is `include.monitoring.watching`.

The watchdog is a trigger: the triggerer lives on when the scheduler dies, and a look there costs no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
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
from include.monitoring.watching import signs
from include.monitoring.watching.airflow import Account
from include.monitoring.watching.watch import ACCOUNT, silent_after, tasks_stand_still

NEEDED = ("waybill_chat", "waybill_mail", ACCOUNT)
"""Connections without which alerts of a production die silently; what is built in is read by nobody there."""
CATCHER = ("mail", 1025)
"""Host and port of the mail catcher in docker-compose.yaml; what it catches is read by nobody either."""


def lacking() -> list[str]:
    """Return the connections that this environment's alerts cannot do without, and that it has not got."""
    return [name for name in NEEDED if current().name == "production" and not _leads_to_people(name)]


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
    """Looks for trouble and tells it, without a task; fires when tasks stood still and run again.

    :param every: seconds between two looks; None: a fifth of the time after which the watchdog is silent.
    """

    def __init__(self, every: float | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.every = every

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again."""
        return "waybill.watching.WatchdogTrigger", {"every": self.every}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch for ever; what goes wrong is logged, and the look of a task notices a watchdog that gives no sign."""
        still = False
        every = self.every or silent_after().total_seconds() / 5
        while True:
            before = still
            try:
                still = await asyncio.to_thread(look_and_tell)
            except Exception as error:
                self.log.error("the watchdog could not watch: %s", type(error).__name__)
            if before and not still:
                yield TriggerEvent({"tasks": "run again"})  # type: ignore[no-untyped-call]
            await asyncio.sleep(every)


def look_and_tell() -> bool:
    """Look for trouble and deliver what there is to tell; return whether tasks stand still.

    Only when all of it worked, this is a sign of life: one that cannot tell what it finds is as good as dead. A chat
    that takes nothing is no failure of it.
    """
    from waybill import alert_delivery, metrics  # noqa: PLC0415 - heavy, and for the triggerer only

    metrics.begin()
    target = engine()
    worked = True
    look = partial(alert_delivery.look_and_publish, looker=signs.WATCHDOG)
    for part in (look, alert_delivery.tell_by_chat, alert_delivery.tell_by_mail):
        try:
            part()
        except Exception as error:  # one that is broken must not stop the others
            worked = False
            Alerts(target).problem(signs.WATCHDOG, error)
    with target.begin() as connection:
        if worked:
            signs.seen(connection, [signs.WATCHDOG])
        return tasks_stand_still(connection)


def _leads_to_people(connection_id: str) -> bool:
    connection = _connection(connection_id)
    return connection is not None and (connection.host, connection.port) != CATCHER


def _connection(connection_id: str) -> Any:
    try:
        return Connection.get(connection_id)
    except AirflowNotFoundException:
        return None
