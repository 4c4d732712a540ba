"""Effects that no case carries: reports, erasures, cancelled orders, merged contacts; and how they go out when due.

A case whose step waits for its effects takes them along whenever it runs. All others are sent by whoever wrote them,
and, where that one does not run now, from here: so what is tried again, by itself or by a person, goes out soon.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, text

from include.contracts.registry import contracts
from include.integrations import ledger
from include.integrations.systems import Provider

log = logging.getLogger(__name__)

LOOKED_AFTER = ("alerts", "approve")
"""Steps whose effects are sent by rules of their own: by those who look for trouble, and by `waybill_approvals`."""

# By the workflow at the beginning of the key, and not by a join with cases: it is asked again and again.
UNCARRIED = """(e.step <> all(:looked_after)
                and (e.case_id is null or split_part(e.key, '/', 1) || '/' || e.step || '/' || e.system
                                          <> all(:carried)))"""
"""The SQL that is true for an effect `e` that no case carries, and that nobody else looks after."""

MERGE = "merge_contacts"

# What is on its way about a contact goes first: sent later, it would make that contact anew.
TURN = f"""(e.operation <> '{MERGE}' or not exists (
    select from effects o where o.system = e.system and o.state in ('pending', 'failed') and o.id <> e.id
       and e.payload->>'merged' in (o.payload->>'key', o.payload->>'contact_key')) and not exists (
    select from effects o where o.system = e.system and o.state in ('sending', 'unknown') and o.id <> e.id
       and e.payload->>'merged' in (o.payload->>'key', o.payload->>'contact_key')))"""
"""The SQL that is true for one of them whose turn it is."""

# Each half names the condition of a partial index.
DUE = f"""
    select e.system from effects e
    where e.state in ('pending', 'failed') and e.available_at <= now() and {UNCARRIED} and {TURN}
    union
    select e.system from effects e
    where e.state in ('sending', 'unknown') and {UNCARRIED}
      and case when e.state = 'sending' then e.lease_until < now() else e.available_at <= now() end"""
"""The SQL of the systems that have such effects due, or left behind by a sender that died."""


class NotDelivered(RuntimeError):
    """Some systems could not be called at all; the message says which, and why. The others were."""


def carried() -> list[str]:
    """The steps whose cases wait for their effects in a system: `workflow/step/system`."""
    return [
        f"{workflow}/{step.id}/{system}"
        for workflow, of in contracts().items()
        for step in of.steps
        for system in step.systems
    ]


def values() -> dict[str, Any]:
    """The bound values of `UNCARRIED`."""
    return {"looked_after": list(LOOKED_AFTER), "carried": carried()}


@dataclass(frozen=True)
class Uncarried(ledger.Scope):
    """All effects that no case carries; they do not build on each other."""

    @property
    def condition(self) -> str:
        """The SQL that restricts `effects e` to these."""
        return UNCARRIED

    @property
    def turn(self) -> str:
        """The SQL that is true for an effect whose turn it is."""
        return TURN

    @property
    def values(self) -> dict[str, Any]:
        """The bound values of `condition`."""
        return values()


def systems_due(connection: Connection) -> list[str]:
    """Return the systems that have effects due which no case carries."""
    return sorted(connection.execute(text(DUE), values()).scalars())


def deliver_due(engine: Engine, provider: Callable[[str], AbstractContextManager[Provider]]) -> dict[str, int]:
    """Deliver what is due and no case carries; return how many each system took.

    :param provider: gives the provider of a role.
    :raises NotDelivered: when a system has no provider now, after the others were delivered to.
    """
    with engine.connect() as connection:
        due = systems_due(connection)
    sent, trouble = {}, []
    for system in due:
        try:
            with provider(system) as found:
                sent[system] = ledger.deliver(engine, found, system=system, scope=Uncarried()).sent
        except Exception as error:
            log.exception("%s cannot be called", system)
            trouble.append(f"{system} ({type(error).__name__})")
    if trouble:
        raise NotDelivered(f"nothing can be sent to {', '.join(trouble)}: look at the connection waybill_<role>")
    return sent
