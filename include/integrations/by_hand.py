"""What a person does about effects in trouble: retry, settle, give up; and what becomes of their cases by it.

Each is for many effects at once, and is bound to what the person saw: an effect that changed since, is not in the right
state any more, or is being sent at this moment, is left as it is. So each is harmless when it is repeated. Cases are
locked before effects, as the steps do it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine, Row, text

from include.cases.model import Reason
from include.data.database import authored
from include.integrations.ledger import LONGEST_ERROR, WITHDRAWN
from include.integrations.uncarried import carried

RETRIED, SETTLED, GIVEN_UP = "effect retried", "effect settled", "effect given up"
"""The events of what is done here."""

LONGEST_ID = 200
"""Characters of an id of another system."""

# A case goes on only with the effects of its own steps; messages about it have nobody who waits for them.
_HOLDS = "c.workflow || '/' || e.step || '/' || e.system = any(:holding)"
_WITHDRAWN = f"(e.state = 'dead' and starts_with(e.error, '{WITHDRAWN}'))"

# Its state, its attempts, and when it was planned last: attempts count anew when a case's release plans it once more.
AS_SEEN = f"""concat_ws(' ', case when {_WITHDRAWN} then 'given_up' else e.state end, e.attempts,
                        cast(extract(epoch from e.created_at) as bigint))"""
"""The SQL for how an effect `e` stands: what changes when more becomes of it than being looked up once more."""

Seen = Mapping[int, str]
"""Effects, each with how it stood (`AS_SEEN`) when the person looked at it."""


@dataclass(frozen=True)
class Handled:
    """What was done.

    :param effects: how many were changed; the others had changed before, or are being sent.
    :param cases: how many cases go on, or are set aside, by that.
    """

    effects: int
    cases: int


def retry(engine: Engine, seen: Seen, *, actor: str) -> Handled:
    """Have failed and dead effects sent at once; their attempts go on counting.

    A dead one has its whole time again. What was given up stays so: releasing its case plans it anew. So does what
    nobody would send, because its case is closed.
    """
    with authored(engine, actor=actor) as connection:
        changed = _change(
            connection, RETRIED, seen,
            which=f"""e.state in ('failed', 'dead') and not {_WITHDRAWN}
                      and not coalesce(c.state in ('finished', 'rejected') and {_HOLDS}, false)""",
            assignment="""state = 'pending', error = null, available_at = now(),
                          created_at = case when effects.state = 'dead' then now() else effects.created_at end""",
        )  # fmt: skip
        return Handled(len(changed), _let_go_on(connection, changed))


def settle_as_sent(engine: Engine, seen: Seen, *, theirs: str = "", actor: str) -> Handled:
    """Take a person's word that effects took place: those of which nobody knows, and dead ones that were done by hand.

    :param theirs: the id that the other system gave, for one effect; a later step may need it.
    """
    with authored(engine, actor=actor) as connection:
        changed = _change(
            connection, SETTLED, seen,
            which="e.state in ('unknown', 'dead')",
            assignment="""state = 'sent', error = null, sent_at = now(),
                          answer = jsonb_strip_nulls(
                              jsonb_build_object('id', cast(:value as text), 'by_hand', true))""",
            value=theirs.strip()[:LONGEST_ID] or None,
            detail={"happened": True},
        )  # fmt: skip
        return Handled(len(changed), _let_go_on(connection, changed))


def settle_as_not_sent(engine: Engine, seen: Seen, *, actor: str) -> Handled:
    """Take a person's word that effects of which nobody knows did not take place; they are sent at once."""
    with authored(engine, actor=actor) as connection:
        changed = _change(
            connection, SETTLED, seen,
            which="e.state = 'unknown'",
            assignment="state = 'pending', error = null, available_at = now()",
            detail={"happened": False},
        )  # fmt: skip
        return Handled(len(changed), _let_go_on(connection, changed))


def give_up(engine: Engine, seen: Seen, *, reason: str, actor: str) -> Handled:
    """Send effects never; of those of which nobody knows, this is a person's word that they did not take place.

    A case that cannot go on without one is set aside. An effect whose case a run works on at this moment is left: the
    run would plan it anew.

    :raises ValueError: without a reason.
    """
    if not reason.strip():
        raise ValueError("an effect is given up with a reason: say why")
    words = reason.strip()
    with authored(engine, actor=actor) as connection:
        changed = _change(
            connection, GIVEN_UP, seen,
            which=f"""e.state in ('pending', 'failed', 'unknown', 'dead') and not {_WITHDRAWN}
                      and not coalesce(c.state = 'running' and {_HOLDS}, false)""",
            assignment="state = 'dead', error = :value",
            value=(WITHDRAWN + words)[:LONGEST_ERROR],
            detail={"reason": words},
        )  # fmt: skip
        return Handled(len(changed), _set_aside(connection, changed, words))


def _change(
    connection: Connection,
    kind: str,
    seen: Seen,
    *,
    which: str,
    assignment: str,
    value: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> Sequence[Row[Any]]:
    """Change effects, each with an event; return those that were changed: id, case_id, step, system, operation.

    :param which: SQL about the effect `e` and its case `c`.
    :param value: what `assignment` knows as `:value`.
    """
    connection.execute(
        text("""
            select 1 from cases where id in (select case_id from effects where id = any(:ids))
            order by id for update"""),
        {"ids": list(seen)},
    )
    return connection.execute(
        text(f"""
            with chosen as materialized (
                select e.id
                from unnest(cast(:ids as bigint[]), cast(:seen as text[])) as v(id, seen)
                join effects e on e.id = v.id left join cases c on c.id = e.case_id
                where {AS_SEEN} = v.seen and {which} order by e.id for update of e
            ), changed as (
                update effects set {assignment} from chosen where effects.id = chosen.id
                returning effects.id, effects.key, case_id, step, system, operation
            ), told as (
                insert into events (case_id, workflow, kind, actor, step, detail)
                select case_id, split_part(key, '/', 1), :kind, author(), step,
                       jsonb_build_object('effect', id, 'system', system, 'operation', operation)
                       || cast(:detail as jsonb)
                from changed
            )
            select id, case_id, step, system, operation from changed order by id"""),
        {
            "ids": list(seen),
            "seen": list(seen.values()),
            "value": value,
            "holding": carried(),
            "kind": kind,
            "detail": Jsonb(dict(detail or {})),
        },
    ).all()


def _let_go_on(connection: Connection, changed: Sequence[Row[Any]]) -> int:
    """Let the cases look again that were put back until an effect is due, or set aside for nothing but dead effects.

    One that has another dead effect at the same step stays where it is.
    """
    return connection.execute(
        text("""
            update cases set
                attempts = case when state = 'quarantined' then 0 else attempts end,
                state = 'pending', reasons = null, available_at = now(), updated_at = now()
            from (select distinct case_id, step from effects where id = any(:ids)) as held
            where cases.id = held.case_id and stage = step
              and (state = 'pending' and available_at > now()
                   or state = 'quarantined'
                      and not exists (select from jsonb_array_elements(reasons) r
                                      where not starts_with(r->>'code', 'effect.'))
                      and not exists (select from effects e
                                      where e.case_id = cases.id and e.step = held.step and e.state = 'dead'))"""),
        {"ids": [row.id for row in changed]},
    ).rowcount


def _set_aside(connection: Connection, changed: Sequence[Row[Any]], why: str) -> int:
    """Set the pending cases aside of whose steps an effect was given up; their next run would plan it anew."""
    reasons = {
        str(row.id): Reason(f"effect.{row.system}", f"{row.system} {row.operation} was given up: {why}").as_json()
        for row in changed
    }
    return connection.execute(
        text(f"""
            update cases set state = 'quarantined', reasons = held.reasons, updated_at = now()
            from (select e.case_id, jsonb_agg(v.value order by e.id) as reasons
                  from jsonb_each(:reasons) as v join effects e on e.id = v.key::bigint join cases c on c.id = e.case_id
                  where {_HOLDS} group by e.case_id) as held
            where cases.id = held.case_id and cases.state = 'pending'"""),
        {"reasons": Jsonb(reasons), "holding": carried()},
    ).rowcount
