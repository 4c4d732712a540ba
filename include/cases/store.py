"""Moves cases: claims, puts back, sets aside, releases, discards, hands over.

Every function works on a set of cases in one statement; the events are written by the database itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine, text

from include.cases.model import StepResult, Work
from include.data.database import authored

LEASE = timedelta(minutes=10)
"""How long a claim holds without a sign of life from its run."""

MOST_ATTEMPTS = 5
"""A case whose runs died this often is set aside, so that it cannot take every run down with it."""


@dataclass(frozen=True)
class Claim:
    """A batch that one run works on; its id is the fence against a run that comes back from the dead."""

    id: int
    workflow: str
    cases: int


@dataclass(frozen=True)
class Selection:
    """Which set-aside cases a person means; empty fields do not restrict.

    :param reason: a reason code, or the beginning of one (`phone` means `phone.invalid` and `phone.missing`).
    :param since: first instant of arrival, inclusive.
    :param until: last instant of arrival, exclusive.
    """

    workflow: str
    case_ids: Sequence[int] = field(default_factory=tuple)
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def is_everything(self) -> bool:
        """Whether nothing but the workflow restricts it."""
        return not (self.case_ids or self.reason or self.since or self.until)


def claim(
    engine: Engine,
    *,
    workflow: str,
    steps: Sequence[str],
    run_id: str,
    limit: int = 5_000,
    since: datetime | None = None,
    until: datetime | None = None,
    lease: timedelta = LEASE,
) -> Claim | None:
    """Claim up to `limit` pending cases for a run, oldest first, skipping those another run is claiming.

    A run that asks again, because it died before it heard the answer, gets the claim that it has.
    Cases of other runs that died are put back first. New cases leave the first step with this, because the
    first step is to be captured.

    :param steps: the workflow's steps in order.
    :param since: claim only cases that arrived at this instant or later.
    :param until: claim only cases that arrived before this instant.
    :returns: the claim, or None when nothing is pending.
    """
    with authored(engine, actor="system:claims", run=run_id, step=steps[0]) as connection:
        if held := _held_by(connection, workflow, run_id):
            return held
        put_back_expired(connection, workflow)
        claimed = connection.execute(
            text("""
                with picked as materialized (
                    select id from cases
                    where workflow = :workflow and state = 'pending' and available_at <= now()
                      and (cast(:since as timestamptz) is null or created_at >= :since)
                      and (cast(:until as timestamptz) is null or created_at < :until)
                    order by available_at, id limit :limit for update skip locked
                ), claim as (
                    insert into claims (workflow, run_id, lease_until)
                    select :workflow, :run_id, now() + :lease where exists (select from picked) returning id
                ), taken as (
                    update cases set state = 'running', claim_id = claim.id, updated_at = now(),
                                     stage = case when stage = :first then :second else stage end
                    from claim, picked where cases.id = picked.id returning cases.id
                )
                select claim.id, (select count(*) from taken) from claim"""),
            {
                "workflow": workflow,
                "limit": limit,
                "since": since,
                "until": until,
                "run_id": run_id,
                "lease": lease,
                "first": steps[0],
                "second": steps[1],
            },
        ).first()
    return Claim(claimed[0], workflow, claimed[1]) if claimed else None


def _held_by(connection: Connection, workflow: str, run_id: str) -> Claim | None:
    held = connection.execute(
        text("""
            update claims set lease_until = now() + :lease
            where id = (select max(claims.id) from claims join cases on cases.claim_id = claims.id
                        where claims.workflow = :workflow and claims.run_id = :run_id)
            returning id, (select count(*) from cases where claim_id = claims.id)"""),
        {"workflow": workflow, "run_id": run_id, "lease": LEASE},
    ).first()
    return Claim(held[0], workflow, held[1]) if held else None


def put_back_expired(connection: Connection, workflow: str) -> int:
    """Make the cases of dead runs claimable again, or set them aside after `MOST_ATTEMPTS`."""
    return _put_back(
        connection,
        "cases.workflow = :workflow and claims.lease_until < now()",
        {"workflow": workflow},
    )


def put_back_run(engine: Engine, workflow: str, *, run_id: str) -> int:
    """Make the unfinished cases of every claim of a failed run claimable at once."""
    with authored(engine, actor="system:claims", run=run_id) as connection:
        return _put_back(
            connection,
            "claims.workflow = :workflow and claims.run_id = :run_id",
            {"workflow": workflow, "run_id": run_id},
        )


def _put_back(connection: Connection, which: str, values: Mapping[str, Any]) -> int:
    result = connection.execute(
        text(f"""
            with stuck as (
                select cases.id, cases.attempts + 1 >= :most as exhausted
                from cases join claims on claims.id = cases.claim_id
                where cases.state = 'running' and {which} for update of cases skip locked
            )
            update cases set
                state = case when exhausted then 'quarantined' else 'pending' end,
                reasons = case when exhausted then cast(:reasons as jsonb) end,
                claim_id = null, attempts = attempts + 1, available_at = now(), updated_at = now()
            from stuck where cases.id = stuck.id"""),
        {
            **values,
            "most": MOST_ATTEMPTS,
            "reasons": Jsonb(
                [
                    {
                        "code": "error.attempts",
                        "message": f"{MOST_ATTEMPTS} runs died while they worked on this case; "
                        "look at the runs in its timeline before you release it",
                    }
                ]
            ),
        },
    )
    return result.rowcount


def renew(engine: Engine, claim_id: int, lease: timedelta = LEASE) -> None:
    """Give a sign of life: the claim holds for another `lease`."""
    with engine.begin() as connection:
        connection.execute(
            text("update claims set lease_until = now() + :lease where id = :id"), {"lease": lease, "id": claim_id}
        )


def cases_at(connection: Connection, claim_id: int, step: str) -> list[int]:
    """Lock and return the claim's running cases that stand at `step`, in order of arrival."""
    found = connection.execute(
        text(
            "select id from cases where claim_id = :claim_id and state = 'running' and stage = :step"
            " order by id for update"
        ),
        {"claim_id": claim_id, "step": step},
    )
    return list(found.scalars())


def apply(work: Work, result: StepResult, following: str | None, outcome: str = "done") -> None:
    """Move the cases of `work`: as `result` says, and all others to the step `following`.

    :param following: the next step, or None after the last one, where a case finishes with `outcome`.
    """
    stopped = result.stopped()
    going_on = [case_id for case_id in work.case_ids if case_id not in stopped]
    closing = dict(result.close)
    if following is None:
        closing |= dict.fromkeys(going_on, outcome)
    elif going_on:
        work.connection.execute(
            text("update cases set stage = :following, updated_at = now() where id = any(:ids)"),
            {"following": following, "ids": going_on},
        )
    if closing:
        _set(
            work.connection,
            "state = 'finished', outcome = v.value #>> '{}', closed_at = now(), claim_id = null, reasons = null",
            closing,
        )
    if result.quarantine:
        _set(
            work.connection,
            "state = 'quarantined', reasons = v.value, claim_id = null",
            {case_id: [reason.as_json() for reason in reasons] for case_id, reasons in result.quarantine.items()},
        )
    if result.put_back:
        _set(
            work.connection,
            "state = 'pending', available_at = (v.value #>> '{}')::timestamptz, claim_id = null",
            {case_id: moment.isoformat() for case_id, moment in result.put_back.items()},
        )
    if result.wait:
        _set(work.connection, "state = 'waiting', owner = v.value #>> '{}', claim_id = null", result.wait)
    if result.send_back:
        _set(
            work.connection,
            "state = 'pending', stage = v.value #>> '{}', available_at = now(), claim_id = null",
            result.send_back,
        )


def _set(connection: Connection, assignment: str, values: Mapping[int, Any]) -> None:
    connection.execute(
        text(f"""
            update cases set {assignment}, updated_at = now()
            from jsonb_to_recordset(:rows) as v(id bigint, value jsonb)
            where cases.id = v.id"""),
        {"rows": Jsonb([{"id": case_id, "value": value} for case_id, value in values.items()])},
    )


def set_aside(connection: Connection, selection: Selection) -> list[dict[str, Any]]:
    """Return the quarantined cases that `selection` means, oldest first: id, key, stage, reasons, since."""
    found = connection.execute(
        text("""
            select id, key, stage, reasons, updated_at as since from cases
            where workflow = :workflow and state = 'quarantined'
              and (cardinality(cast(:case_ids as bigint[])) = 0 or id = any(:case_ids))
              and (cast(:reason as text) is null or exists (
                   select from jsonb_array_elements(reasons) r
                   where r->>'code' = :reason or starts_with(r->>'code', :reason || '.')))
              and (cast(:since as timestamptz) is null or created_at >= :since)
              and (cast(:until as timestamptz) is null or created_at < :until)
            order by id"""),
        {
            "workflow": selection.workflow,
            "case_ids": list(selection.case_ids),
            "reason": selection.reason,
            "since": selection.since,
            "until": selection.until,
        },
    )
    return [dict(row) for row in found.mappings()]


def reopen(
    engine: Engine, *, workflow: str, first_step: str, since: datetime, until: datetime, actor: str, run: str = ""
) -> int:
    """Send the finished cases that arrived in [since, until) through the workflow again.

    Their effects have the same keys as before, so what was sent is not sent again. A case whose delivery was erased has
    nothing left to go through with, and stays finished. When a case finished first is kept, for past reports.
    """
    with authored(engine, actor=actor, run=run) as connection:
        return connection.execute(
            text("""
                update cases set state = 'pending', stage = :first_step, outcome = null, closed_at = null,
                                 first_closed_at = coalesce(first_closed_at, closed_at), available_at = now(),
                                 updated_at = now()
                where workflow = :workflow and state = 'finished' and created_at >= :since and created_at < :until
                  and erased_at is null
                  and not exists (select from deliveries d where d.id = delivery_id and d.erased_at is not null)"""),
            {"workflow": workflow, "first_step": first_step, "since": since, "until": until},
        ).rowcount


def release(
    engine: Engine,
    case_ids: Sequence[int],
    *,
    first_step: str,
    actor: str,
    corrections: Mapping[str, Any] | None = None,
    run: str = "",
) -> int:
    """Send quarantined cases through the workflow again, in a transaction of its own; see `release_within`."""
    with authored(engine, actor=actor, run=run) as connection:
        return release_within(connection, case_ids, first_step=first_step, corrections=corrections)


def release_within(
    connection: Connection,
    case_ids: Sequence[int],
    *,
    first_step: str,
    corrections: Mapping[str, Any] | None = None,
) -> int:
    """Send quarantined cases through the workflow again, from its first step, in an authored transaction.

    :param corrections: field -> right value, kept beside the delivery and laid over what was received.
    :returns: how many were quarantined and now are pending.
    """
    released = list(
        connection.execute(
            text("""
                update cases set state = 'pending', stage = :first_step, reasons = null, attempts = 0,
                                 available_at = now(), updated_at = now()
                where id = any(:ids) and state = 'quarantined' returning id"""),
            {"first_step": first_step, "ids": list(case_ids)},
        ).scalars()
    )
    for name, value in (corrections or {}).items():
        connection.execute(
            text("""
                insert into corrections (case_id, field, value, actor)
                select id, :field, :value, author() from unnest(cast(:ids as bigint[])) as id"""),
            {"field": name, "value": Jsonb(value), "ids": released},
        )
    if corrections and released:
        record(connection, "corrected", released, {"fields": sorted(corrections)})
    return len(released)


class NotChangeable(ValueError):
    """A case whose content cannot be changed where it stands; `state` and `stage` say where that is."""

    def __init__(self, state: str, stage: str) -> None:
        super().__init__(f"the case is {state} at {stage}")
        self.state = state
        self.stage = stage


def restart(
    connection: Connection,
    case_id: int,
    *,
    first_step: str,
    stages: Sequence[str],
    corrections: Mapping[str, Any],
    actor: str,
) -> None:
    """Send a case that nobody works on through its workflow again, from its first step, with another content.

    Unlike a release it is for cases that wait or are pending; what was decided about the old content is for the
    workflow to void. Call it in an authored transaction.

    :param stages: the steps at which the content may still change.
    :param corrections: field -> new value, kept beside the delivery and laid over what was received.
    :raises NotChangeable: when it is finished, further on, or held by a run.
    :raises KeyError: when there is no such case.
    """
    standing = connection.execute(
        text("select state, stage from cases where id = :id for update"), {"id": case_id}
    ).one_or_none()
    if standing is None:
        raise KeyError(f"there is no case {case_id}")
    if standing.state not in ("waiting", "pending", "quarantined") or standing.stage not in stages:
        raise NotChangeable(standing.state, standing.stage)
    connection.execute(
        text("""
            insert into corrections (case_id, field, value, actor)
            select :id, field, value, :actor from jsonb_each(:corrections) as v(field, value) order by field"""),
        {"id": case_id, "actor": actor, "corrections": Jsonb(dict(corrections))},
    )
    connection.execute(
        text("""
            update cases set state = 'pending', stage = :first_step, reasons = null, attempts = 0,
                             available_at = now(), updated_at = now()
            where id = :id"""),
        {"id": case_id, "first_step": first_step},
    )
    record(connection, "corrected", [case_id], {"fields": sorted(corrections)})


def discard(engine: Engine, case_ids: Sequence[int], *, reason: str, actor: str, run: str = "") -> int:
    """Close cases that are set aside or wait, for good, in a transaction of its own; see `discard_within`."""
    with authored(engine, actor=actor, run=run) as connection:
        return discard_within(connection, case_ids, reason=reason)


def discard_within(connection: Connection, case_ids: Sequence[int], *, reason: str) -> int:
    """Close cases that are set aside or wait, for good, with a reason, in an authored transaction.

    :returns: how many are closed by this.
    :raises ValueError: without a reason.
    """
    if not reason.strip():
        raise ValueError("a case is discarded with a reason: say why")
    return connection.execute(
        text("""
            update cases set state = 'rejected', outcome = :reason, closed_at = now(), updated_at = now()
            where id = any(:ids) and state in ('quarantined', 'waiting')"""),
        {"reason": reason.strip(), "ids": list(case_ids)},
    ).rowcount


def lock(connection: Connection, case_ids: Sequence[int]) -> None:
    """Hold cases until the transaction ends, in one order for everybody; whoever works on one is waited for."""
    connection.execute(text("select 1 from cases where id = any(:ids) order by id for update"), {"ids": list(case_ids)})


def wake(connection: Connection, case_ids: Sequence[int]) -> int:
    """Let waiting cases look again, at the step where they wait, whether they may go on.

    Call it in the transaction that changes what they wait for: a step that decides to wait at this very moment is
    waited for first, so the news cannot fall between its look and its wait.

    :returns: how many were waiting.
    """
    lock(connection, case_ids)
    return connection.execute(
        text("""
            update cases set state = 'pending', available_at = now(), updated_at = now()
            where id = any(:ids) and state = 'waiting'"""),
        {"ids": list(case_ids)},
    ).rowcount


def hand_over(connection: Connection, *, to: str, stage: str, owner: str, case_ids: Sequence[int], waits: bool) -> int:
    """Open one case in workflow `to` for each of `case_ids`, once however often it is asked for.

    :param waits: the workflow is not built yet: the new case waits for its owner.
    :returns: how many were opened now.
    """
    return connection.execute(
        text("""
            insert into cases (workflow, key, parent_id, state, stage, owner)
            select :to, workflow || '/' || key, id, :state, :stage, :owner from cases where id = any(:ids)
            on conflict (workflow, key) do nothing"""),
        {
            "to": to,
            "state": "waiting" if waits else "pending",
            "stage": stage,
            "owner": owner,
            "ids": list(case_ids),
        },
    ).rowcount


def record(connection: Connection, kind: str, case_ids: Sequence[int], detail: Mapping[str, Any] | None = None) -> None:
    """Write an event of `kind` for each case; `detail` must not hold personal data."""
    connection.execute(
        text("""
            insert into events (case_id, workflow, kind, stage, state, actor, run_id, step, detail)
            select id, workflow, :kind, stage, state, author(), nullif(current_setting('waybill.run', true), ''),
                   nullif(current_setting('waybill.step', true), ''), :detail
            from cases where id = any(:ids)"""),
        {"kind": kind, "ids": list(case_ids), "detail": Jsonb(dict(detail)) if detail else None},
    )


def record_each(connection: Connection, kind: str, details: Mapping[int, Mapping[str, Any]]) -> None:
    """Write an event of `kind` for each case, each with its own detail; no personal data in it."""
    connection.execute(
        text("""
            insert into events (case_id, workflow, kind, stage, state, actor, run_id, step, detail)
            select cases.id, workflow, :kind, stage, state, author(),
                   nullif(current_setting('waybill.run', true), ''),
                   nullif(current_setting('waybill.step', true), ''), v.detail
            from jsonb_to_recordset(:rows) as v(id bigint, detail jsonb)
            join cases on cases.id = v.id"""),
        {"kind": kind, "rows": Jsonb([{"id": case_id, "detail": detail} for case_id, detail in details.items()])},
    )


def pending(connection: Connection, workflow: str) -> bool:
    """Tell whether a run of `workflow` would find something to claim now."""
    return bool(connection.execute(text(PENDING), {"workflow": workflow}).scalar_one())


PENDING = """
    select exists (select from cases where workflow = :workflow and state = 'pending' and available_at <= now())
        or exists (select from cases join claims on claims.id = cases.claim_id
                   where cases.workflow = :workflow and cases.state = 'running' and claims.lease_until < now())"""
"""What the watcher asks: is anything claimable, or left behind by a run that died?"""
