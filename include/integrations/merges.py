"""What the CRM is told of contacts that a person merged here, and what becomes of that when the merge is undone.

A CRM cannot part what it has merged, so it is told only after a time in which the merge can be undone here. What a
person decides about the directory itself is `include.data.matching.decisions`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Row, text

from include.data.matching import decisions
from include.data.matching.decisions import DecidedOtherwise, Decision
from include.integrations import ledger
from include.integrations.systems import Effect, Mode
from include.integrations.uncarried import MERGE

WORKFLOW = "lead_to_client"
STEP = MERGE
"""The step of the effects in the ledger; no case ever stands at it, so they go out by themselves."""
USUAL_GRACE = timedelta(hours=1)
PARTED = "undo merge, parted in the CRM"
"""The decision of somebody who has made two contacts of the one in the CRM, by hand."""


class MergedThere(DecidedOtherwise):
    """The CRM has merged the two, and cannot part them; the message says what a person can do."""


def grace() -> timedelta:
    """Return how long after a merge the CRM is told of it: `WAYBILL_MERGE_GRACE_MINUTES`, else an hour.

    :raises ValueError: when the setting is no number of minutes.
    """
    raw = os.environ.get("WAYBILL_MERGE_GRACE_MINUTES")
    if not raw:
        return USUAL_GRACE
    if not re.fullmatch(r"[0-9]{1,6}", raw):
        raise ValueError(f"WAYBILL_MERGE_GRACE_MINUTES is {raw!r}; write a whole number of minutes, such as 60")
    return timedelta(minutes=int(raw))


def merge(connection: Connection, pair_id: int, decided_by: str, mode: Mode) -> Decision:
    """Merge a pair here, and plan the same for the CRM; see `decisions.merge`."""
    done = decisions.merge(connection, pair_id, decided_by)
    if done.changed and done.winner and done.loser:
        ledger.write(connection, [_effect(connection, done)], mode)
    return done


def undo_merge(connection: Connection, pair_id: int, undone_by: str, *, parted: bool = False) -> Decision:
    """Make two people of a merged pair again, and withdraw what the CRM was to be told; see `decisions.undo_merge`.

    :param parted: somebody says that the CRM has two contacts again.
    :raises MergedThere: when the CRM has merged them, unless they are parted there.
    """
    told = of_pair(connection, pair_id, hold=True)
    if told is not None and told.state in ("sending", "unknown"):
        raise MergedThere("the CRM is told of it at this moment; look again in some minutes")
    if told is not None and told.state == "sent" and told.merged and not parted:
        raise MergedThere(
            "the CRM has merged the two, and cannot part them. Where they are two people after all, take the second "
            "address from the contact in the CRM and create a second contact with it there; then say here that they "
            "are parted"
        )
    undone = decisions.undo_merge(connection, pair_id, undone_by)
    if undone.changed and told is not None:
        connection.execute(
            text("""
                update effects set state = 'dead', error = :error
                where id = :id and state in ('pending', 'failed', 'dead')"""),
            {"id": told.id, "error": ledger.WITHDRAWN + "the merge was undone"},
        )
    return undone


def of_pair(connection: Connection, pair_id: int, *, hold: bool = False) -> Row[tuple[object, ...]] | None:
    """Return what the CRM is told of a pair that is merged: id, state, available_at, sent_at, error, and `merged`.

    `merged` says whether the CRM has made one of two, or of what it called one, so that there is no way back.

    :param hold: keep it as it is until the transaction ends.
    """
    return connection.execute(
        text(f"""
            select e.id, e.state, e.available_at, e.sent_at, e.error,
                   e.state = 'sent' and not coalesce(e.answer->>'captured' = 'true', false)
                       and coalesce(e.answer->>'merged', 'true') = 'true' as merged
            from contact_merges m join effects e on e.key = {_KEY}
            where m.pair_id = :pair and m.undone_at is null {"for update of e" if hold else ""}"""),
        {"pair": pair_id},
    ).one_or_none()


_KEY = f"'{WORKFLOW}/merge/' || m.id || '/{MERGE}'"


def _effect(connection: Connection, done: Decision) -> Effect:
    row = connection.execute(
        text(f"""
            select {_KEY} as key, p.case_id from contact_merges m join possible_duplicates p on p.id = m.pair_id
            where m.pair_id = :pair and m.undone_at is null"""),
        {"pair": done.pair_id},
    ).one()
    target = str(done.winner)
    payload = {"key": target, "merged": str(done.loser)}
    return Effect(row.key, "crm", MERGE, row.case_id, STEP, target, payload, not_before=datetime.now(UTC) + grace())


ACTIONS: Mapping[str, Callable[[Connection, int, str, Mode], Decision]] = {
    "merge": merge,
    "keep apart": lambda connection, pair, by, _mode: decisions.keep_apart(connection, pair, by),
    "undo merge": lambda connection, pair, by, _mode: undo_merge(connection, pair, by),
    PARTED: lambda connection, pair, by, _mode: undo_merge(connection, pair, by, parted=True),
    "undo keep apart": lambda connection, pair, _by, _mode: decisions.undo_keep_apart(connection, pair),
}
"""What a person can do, by its name in forms: with a transaction, a pair, who does it, and what effects are for."""
