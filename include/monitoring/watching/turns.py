"""Turns: what two who look must not do at once, they do one after the other, and none holds the other up for ever."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Connection, text

LONGEST_IDLE = timedelta(seconds=15)
"""Time in which whoever has the turn must speak to the database again; a machine that freezes loses it then."""
LONGEST_WAIT = timedelta(seconds=20)
"""Time that one waits for a turn; the next look comes soon."""


def take(connection: Connection, what: str, *, patient: bool = False) -> None:
    """Let this transaction be the only one that does `what`, until it ends.

    :param patient: wait for as long as the other works, which may be minutes.
    :raises OperationalError: when another has the turn for longer than `LONGEST_WAIT`.
    """
    connection.execute(
        text("""
            select set_config('lock_timeout', :wait, true),
                   set_config('idle_in_transaction_session_timeout', :idle, true)"""),
        {"wait": "0" if patient else _setting(LONGEST_WAIT), "idle": _setting(LONGEST_IDLE)},
    )
    connection.execute(text("select pg_advisory_xact_lock(hashtext(:what))"), {"what": f"waybill.{what}"})


def _setting(time: timedelta) -> str:
    return f"{int(time.total_seconds() * 1000)}ms"
