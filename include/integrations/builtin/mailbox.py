"""The built-in provider of the `mail` role: a mailbox in PostgreSQL. Nothing leaves the machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from include.integrations.systems import Failed, Operation, Outcome, PendingEffect, Sent, Settle


class LocalMailbox:
    """Keeps each mail once, under its effect's key."""

    name = "builtin"
    batch_size = 1_000
    operations: Mapping[str, Operation] = {"send_mail": Operation("send_mail", Settle.RESEND)}

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:  # noqa: ARG002
        """Put the mails into the mailbox."""
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    text("""
                        insert into mailbox (key, "to", subject, message)
                        select key, message->>'to', message->>'subject', message
                        from jsonb_to_recordset(:mails) as v(key text, message jsonb)
                        on conflict (key) do nothing"""),
                    {"mails": Jsonb([{"key": effect.key, "message": effect.payload} for effect in effects])},
                )
        except OperationalError as error:
            return [Failed(f"the database is away: {error.orig}")] * len(effects)
        return [Sent({"id": effect.key}) for effect in effects]

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Never asked: a mail that is here already is not added again."""
        return self.apply(operation, effects)
