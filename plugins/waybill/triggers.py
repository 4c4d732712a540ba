"""The watchers that start a workflow when it has cases pending, and other DAGs when there is something to do.

They look at what the database holds, not at single messages: a message that is lost delays work, and strands none.
"""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import asyncpg
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from include.cases.store import PENDING
from include.data.database import SCHEMA, asyncpg_dsn, engine
from include.integrations import uncarried

CHANNEL = "waybill_cases"
LOOK = PENDING.replace(":workflow", "$1") + ", (select coalesce(max(id), 0) from claims where workflow = $1)"
REPEAT_AFTER = 15.0
"""Seconds after which an announcement that nobody acted on is made again."""
RECONNECT_AFTER = 2.0
REPEAT_DUE_AFTER = 60.0
"""The same for what is to be sent: a system that cannot be called now is not called more often."""


class PendingCasesTrigger(BaseEventTrigger):
    """Fires when a workflow has something to claim, woken by NOTIFY, with a poll behind it.

    :param workflow: the contract's workflow.
    :param poll_interval: seconds between looks when nothing wakes it.
    """

    def __init__(self, workflow: str, poll_interval: float = 2.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.workflow = workflow
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again."""
        return (
            "waybill.triggers.PendingCasesTrigger",
            {"workflow": self.workflow, "poll_interval": self.poll_interval},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch for ever; a database that is away is waited for."""
        while True:
            try:
                async for event in self._watch():
                    yield event
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                self.log.warning("the watcher of %s lost the database: %s", self.workflow, type(error).__name__)
                await asyncio.sleep(RECONNECT_AFTER)

    async def _watch(self) -> AsyncIterator[TriggerEvent]:
        connection = await asyncpg.connect(
            asyncpg_dsn(), timeout=5, command_timeout=5, server_settings={"search_path": SCHEMA}
        )
        try:
            woken = asyncio.Event()
            await connection.add_listener(CHANNEL, lambda *message: self._wake(woken, message[-1]))
            announced_at, last_claim = 0.0, -1
            while True:
                woken.clear()
                pending, newest_claim = await connection.fetchrow(LOOK, self.workflow)
                acted_on = newest_claim != last_claim
                if pending and (acted_on or time.monotonic() - announced_at > REPEAT_AFTER):
                    announced_at, last_claim = time.monotonic(), newest_claim
                    yield TriggerEvent({"workflow": self.workflow})  # type: ignore[no-untyped-call]
                with suppress(TimeoutError):
                    await asyncio.wait_for(woken.wait(), self.poll_interval)
        finally:
            await connection.close(timeout=2)

    def _wake(self, woken: asyncio.Event, workflow: object) -> None:
        if workflow == self.workflow:
            woken.set()


class WorkDueTrigger(BaseEventTrigger):
    """Fires when something is due, and again when it is still due a minute later. Subclasses say what.

    :param poll_interval: seconds between looks.
    """

    def __init__(self, poll_interval: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what it takes to make this trigger again."""
        return f"waybill.triggers.{type(self).__name__}", {"poll_interval": self.poll_interval}

    @abstractmethod
    def due(self) -> set[str]:
        """Return what is due, by name; called in a thread."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Watch for ever; a look that fails, as when the database is away, is followed by the next one."""
        announced_at, last = float("-inf"), set[str]()
        while True:
            try:
                due = await asyncio.to_thread(self.due)
            except Exception as error:  # a trigger that raises begins anew, and has forgotten what it announced
                self.log.warning("%s could not look: %s", type(self).__name__, type(error).__name__)
                due = set()
            if due and (due - last or time.monotonic() - announced_at > REPEAT_DUE_AFTER):
                announced_at = time.monotonic()
                yield TriggerEvent({"due": sorted(due)})  # type: ignore[no-untyped-call]
            last = due
            await asyncio.sleep(self.poll_interval)


class DueEffectsTrigger(WorkDueTrigger):
    """Fires when effects are due that no case carries, by system; see `include.integrations.uncarried`."""

    def __init__(self, poll_interval: float = 5.0) -> None:
        super().__init__(poll_interval)

    def due(self) -> set[str]:
        """Return the systems that have some."""
        with engine().connect() as connection:
            return set(uncarried.systems_due(connection))


class ApprovalWorkTrigger(WorkDueTrigger):
    """Fires when a message of an approval is due, or a round was left behind; see `waybill.approvals.work_due`."""

    def __init__(self, poll_interval: float = 20.0) -> None:
        super().__init__(poll_interval)

    def due(self) -> set[str]:
        """Return whether there is something to do, as the only name."""
        from waybill.approvals import work_due  # noqa: PLC0415 - for the triggerer only

        return {"approvals"} if work_due() else set()
