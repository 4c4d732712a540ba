"""The built-in provider of the `chat` role: a log in PostgreSQL that the ops pages show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg.types.json import Jsonb
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from include.integrations.systems import Failed, Json, Operation, Outcome, PendingEffect, Sent, Settle


class ChatLog:
    """Keeps each message under its target, so that an update replaces what was posted."""

    name = "builtin"
    batch_size = 100
    operations: Mapping[str, Operation] = {
        "post_message": Operation("post_message", Settle.RESEND, compensation="update_message"),
        "update_message": Operation("update_message", Settle.RESEND),
        "post_picture": Operation("post_picture", Settle.RESEND),
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:  # noqa: ARG002
        """Post or replace the messages and pictures, in order."""
        try:
            with self._engine.begin() as connection:
                connection.execute(
                    text("""
                        insert into chat_log (key, channel, text, blocks)
                        values (:key, :channel, :text, cast(:blocks as jsonb))
                        on conflict (key) do update
                            set text = excluded.text, blocks = excluded.blocks, updated_at = now()"""),
                    [
                        {
                            "key": effect.target,
                            "channel": effect.payload["channel"],
                            "text": effect.payload["text"],
                            "blocks": Jsonb(_blocks(effect.payload)),
                        }
                        for effect in effects
                    ],
                )
        except OperationalError as error:
            return [Failed(f"the database is away: {error.orig}")] * len(effects)
        return [Sent({"id": effect.target, "ts": effect.target}) for effect in effects]

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Never asked: a message that is here already is replaced by itself."""
        return self.apply(operation, effects)


def _blocks(payload: Json) -> list[Json] | None:
    """The blocks of a message; a picture is a block that holds its bytes."""
    if picture := payload.get("picture"):
        return [{"type": "image", "alt_text": payload["text"], "image_url": f"data:image/png;base64,{picture}"}]
    blocks: list[Json] | None = payload.get("blocks")
    return blocks
