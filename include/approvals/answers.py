"""One answer of one person, by whatever route: checked, recorded and told to everybody concerned, in one transaction.

The rules are in `decisions`; here is what all routes have in common, so that none of them can leave a part out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Engine

from include.approvals import messages
from include.approvals.decisions import Decision, decide
from include.data.database import authored, sign
from include.integrations import ledger
from include.integrations.systems import Mode

Route = Literal["airflow", "slack", "page"]
LONGEST_COMMENT = 2_000
"""Characters kept of a comment."""


@dataclass(frozen=True)
class Sender:
    """Who answers, and how that is known.

    :param person: the person's id; None when the account is nobody's.
    :param account: the account by which they came, as its system names it.
    """

    person: str | None
    account: str
    route: Route


def give(
    engine: Engine,
    round_id: int,
    *,
    sender: Sender,
    answer: str,
    comment: str,
    mode: Mode,
    digest: str | None = None,
    asked_in: int | None = None,
) -> Decision:
    """Record an answer, and write to the ledger what everybody concerned is told of it.

    :param digest: of what the sender saw, where the route can tell.
    :param asked_in: number of the stage that they were asked in, where the route can tell.
    :param asked_in: number of the stage that the sender was asked in, where the route can tell.
    :raises include.approvals.decisions.Refused: when the answer changes nothing; the message says why.
    """
    with authored(engine, actor=f"user:{sender.person or sender.account}", step="approve") as connection:
        decision = decide(
            connection,
            round_id=round_id,
            person_id=sender.person or "",
            account=sender.account,
            answer=answer,
            comment=comment.strip()[:LONGEST_COMMENT] or None,
            route=sender.route,
            digest=digest,
            asked_in=asked_in,
        )
        effects = [*messages.plan_closed(connection, round_id), *messages.plan_stage(connection, round_id)]
        ledger.write(connection, effects, mode)
    return decision


def check(
    engine: Engine,
    round_id: int,
    *,
    sender: Sender,
    answer: str,
    digest: str | None = None,
    asked_in: int | None = None,
) -> None:
    """Tell whether an answer would be taken now, before its comment is written; records nothing.

    :raises include.approvals.decisions.Refused: as `give` would.
    """
    with engine.connect() as connection, connection.begin() as tried:
        sign(connection, actor=f"user:{sender.person or sender.account}", step="approve")
        decide(
            connection,
            round_id=round_id,
            person_id=sender.person or "",
            account=sender.account,
            answer=answer,
            comment="only tried",
            route=sender.route,
            digest=digest,
            asked_in=asked_in,
        )
        tried.rollback()
