"""Delivery of the messages of approvals, whose cases wait and so have no step that would send anything.

What a chat or a mail server does not take stays in the ledger and goes out later; no wait is harmed by it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, text

from include.approvals import messages, rounds
from include.approvals.messages import STEP
from include.data.database import authored
from include.environment import current
from include.integrations import ledger
from include.integrations.systems import Mode, Provider

log = logging.getLogger(__name__)


def catch_up(engine: Engine, case_ids: Sequence[int] | None = None) -> int:
    """Plan what messages lack to say what is true now; returns how many effects are new or renewed.

    Updates that could not be planned while a message was on its way are planned here, and mails in place of messages
    that the chat does not take.
    """
    with engine.connect() as connection:
        found = messages.outdated(connection, case_ids)
    written = 0
    for round_id in found:
        with authored(engine, actor="system:approvals", step=STEP) as connection:
            rounds.lock(connection, round_id)
            effects = messages.plan_closed(connection, round_id) + messages.plan_stage(connection, round_id)
            effects += messages.plan_second_route(connection, round_id)
            written += ledger.write(connection, effects, Mode(current().effect_mode))
    return written


def anything_due(connection: Connection) -> bool:
    """Tell whether a message is due, or was left behind by a sender that died."""
    # Each half names the condition of a partial index.
    return bool(
        connection.execute(
            text("""
                select exists (select from effects where step = :step
                                  and state in ('pending', 'failed') and available_at <= now())
                    or exists (select from effects where step = :step and state in ('sending', 'unknown')
                                  and case when state = 'sending' then lease_until else available_at end < now())"""),
            {"step": STEP},
        ).scalar_one()
    )


def deliver_due(
    engine: Engine, chat: Provider | None, mail: Provider | None, *, case_ids: Sequence[int] | None = None
) -> dict[str, int]:
    """Send what is due, of some cases or of all; returns how many each system took.

    One person's message does not wait for another's: somebody's account may be gone for good.

    :param chat: None to leave the chat alone now.
    :param mail: the same for mail.
    """
    catch_up(engine, case_ids)
    scope = ledger.Scope(case_ids, STEP, in_order=False)
    sent = {}
    for system, provider in (("chat", chat), ("mail", mail)):
        if provider is not None:
            sent[system] = ledger.deliver(engine, provider, system=system, scope=scope).sent
    return sent
