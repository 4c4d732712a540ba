"""What a person decides about a possible duplicate: merge, keep apart, and undo of either.

Changes the directory only; what the CRM is told of it is `include.integrations.merges`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, RowMapping, text

from include.cases.store import record
from include.data.matching import directory
from include.data.matching.directory import PERSON_COLUMNS

_FILLED = (*PERSON_COLUMNS, "company_id")


class PairUnknown(LookupError):
    """There is no such possible duplicate."""


class DecidedOtherwise(RuntimeError):
    """Somebody has decided the opposite before."""


@dataclass(frozen=True)
class Decision:
    """What holds for a pair now.

    :param state: 'open', 'merged' or 'kept apart'.
    :param changed: False when it was so before the call.
    :param winner: after a merge, the contact that stands for both.
    :param loser: after a merge, the contact that it stands for.
    """

    pair_id: int
    state: str
    changed: bool
    winner: UUID | None = None
    loser: UUID | None = None


def merge(connection: Connection, pair_id: int, decided_by: str) -> Decision:
    """Declare both contacts of a pair one person; the older one stands for both.

    Blanks of the older are filled from the younger, nothing is overwritten. Leads keep the contact that they
    were given; `directory.survivors` tells whom it stands for. Merging again changes nothing.

    :param connection: a transaction with an author (`include.data.database.authored`).
    :raises PairUnknown: when there is no such pair.
    :raises DecidedOtherwise: when the pair was kept apart.
    """
    pair = _pair(connection, pair_id)
    if pair["state"] == "merged":
        return _merged(connection, pair_id, changed=False)
    if pair["state"] == "kept apart":
        raise DecidedOtherwise(f"pair {pair_id} was kept apart by {pair['decided_by']}: they stay two people")
    standing = directory.survivors(connection, (pair["contact_a"], pair["contact_b"]))
    one, other = standing[pair["contact_a"]], standing[pair["contact_b"]]
    if one != other:
        _join(connection, pair_id, one, other, decided_by)
    _decide(connection, pair, "merged", decided_by)
    return _merged(connection, pair_id, changed=True)


def keep_apart(connection: Connection, pair_id: int, decided_by: str) -> Decision:
    """Declare both contacts of a pair two people: the pair is not asked again, unless a person undoes it.

    :param connection: a transaction with an author.
    :raises PairUnknown: when there is no such pair.
    :raises DecidedOtherwise: when the pair was merged; undo that first.
    """
    pair = _pair(connection, pair_id)
    if pair["state"] == "merged":
        raise DecidedOtherwise(f"pair {pair_id} was merged by {pair['decided_by']}: undo the merge first")
    if pair["state"] == "open":
        _decide(connection, pair, "kept apart", decided_by)
    return Decision(pair_id, "kept apart", changed=pair["state"] == "open")


def undo_merge(connection: Connection, pair_id: int, undone_by: str) -> Decision:
    """Make two people again of a merged pair, and open the question again.

    What the winner had taken over is blanked where nobody changed it since. Keys that came to the winner
    after the merge stay with it. Undoing what is not merged changes nothing.

    :param connection: a transaction with an author.
    :raises PairUnknown: when there is no such pair.
    """
    pair = _pair(connection, pair_id)
    if pair["state"] != "merged":
        return Decision(pair_id, pair["state"], changed=False)
    joined = connection.execute(
        text("""
            update contact_merges set undone_by = :by, undone_at = now()
            where pair_id = :id and undone_at is null returning winner, loser, filled, redirected"""),
        {"id": pair_id, "by": undone_by},
    ).first()
    if joined is not None:
        connection.execute(
            text("""
                update directory_contacts set updated_at = now(),
                    merged_into = case when id = :loser then null else :loser end
                where id = any(:ids) and merged_into = :winner"""),
            {"winner": joined.winner, "loser": joined.loser, "ids": [joined.loser, *joined.redirected]},
        )
        _take_back(connection, joined.winner, joined.filled)
    _ask_again(connection, pair, "merge undone")
    return Decision(pair_id, "open", changed=True)


def undo_keep_apart(connection: Connection, pair_id: int) -> Decision:
    """Open the question again whether a pair that was kept apart is one person.

    Undoing what is not kept apart changes nothing.

    :param connection: a transaction with an author.
    :raises PairUnknown: when there is no such pair.
    """
    pair = _pair(connection, pair_id)
    if pair["state"] != "kept apart":
        return Decision(pair_id, pair["state"], changed=False)
    _ask_again(connection, pair, "keep apart undone")
    return Decision(pair_id, "open", changed=True)


def _pair(connection: Connection, pair_id: int) -> RowMapping:
    directory.lock(connection)
    pair = connection.execute(
        text("select * from possible_duplicates where id = :id for update"), {"id": pair_id}
    ).mappings()
    found = pair.first()
    if found is None:
        raise PairUnknown(f"there is no possible duplicate {pair_id}")
    return found


def _join(connection: Connection, pair_id: int, one: UUID, other: UUID, by: str) -> None:
    rows = connection.execute(
        text(f"""
            select id, {", ".join(_FILLED)} from directory_contacts
            where id in (:one, :other) order by created_at, id for update"""),
        {"one": one, "other": other},
    ).mappings()
    winner, loser = rows.all()
    filled: dict[str, Any] = {
        name: str(loser[name]) for name in _FILLED if winner[name] is None and loser[name] is not None
    }
    directory.follow(connection, {winner["id"]: ({}, filled)})
    redirected = connection.execute(
        text("update directory_contacts set merged_into = :winner where merged_into = :loser returning id"),
        {"winner": winner["id"], "loser": loser["id"]},
    ).scalars()
    connection.execute(
        text("""
            insert into contact_merges (pair_id, winner, loser, filled, redirected, merged_by)
            values (:pair, :winner, :loser, :filled, :redirected, :by)"""),
        {
            "pair": pair_id,
            "winner": winner["id"],
            "loser": loser["id"],
            "filled": Jsonb(filled),
            "redirected": list(redirected),
            "by": by,
        },
    )
    connection.execute(
        text("update directory_contacts set merged_into = :winner, updated_at = now() where id = :loser"),
        {"winner": winner["id"], "loser": loser["id"]},
    )


def _take_back(connection: Connection, winner: UUID, filled: dict[str, str]) -> None:
    if filled:
        assignments = ", ".join(
            f"{name} = case when {name}::text = :{name} then null else {name} end" for name in _FILLED if name in filled
        )
        connection.execute(
            text(f"update directory_contacts set {assignments}, updated_at = now() where id = :winner"),
            {"winner": winner, **filled},
        )


def _merged(connection: Connection, pair_id: int, *, changed: bool) -> Decision:
    joined = connection.execute(
        text("select winner, loser from contact_merges where pair_id = :id and undone_at is null"),
        {"id": pair_id},
    ).first()
    return Decision(pair_id, "merged", changed, *(joined or ()))


def _decide(connection: Connection, pair: RowMapping, state: str, by: str) -> None:
    connection.execute(
        text("update possible_duplicates set state = :state, decided_by = :by, decided_at = now() where id = :id"),
        {"state": state, "by": by, "id": pair["id"]},
    )
    _tell(connection, state, pair)


def _ask_again(connection: Connection, pair: RowMapping, kind: str) -> None:
    connection.execute(
        text("update possible_duplicates set state = 'open', decided_by = null, decided_at = null where id = :id"),
        {"id": pair["id"]},
    )
    _tell(connection, kind, pair)


def _tell(connection: Connection, kind: str, pair: RowMapping) -> None:
    if pair["case_id"] is not None:
        contacts = [str(pair["contact_a"]), str(pair["contact_b"])]
        record(connection, kind, [pair["case_id"]], {"pair": pair["id"], "contacts": contacts})
