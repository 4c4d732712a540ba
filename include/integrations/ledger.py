"""The effect ledger: written before anything is attempted, the only way anything leaves.

Knows when and whether to send, and what to do with an outcome; how to send is the provider's.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine, text

from include.data.frames import copy_rows
from include.integrations.systems import (
    Effect,
    Failed,
    Mode,
    Outcome,
    PendingEffect,
    Provider,
    Sent,
    Settle,
    Unknown,
)

log = logging.getLogger(__name__)

SENDING_LEASE = timedelta(minutes=2)
"""Longest time that one bulk call may take; after it the outcome counts as unknown."""

FIRST_RETRY = 2.0
LONGEST_RETRY = 900.0
"""Seconds between attempts: doubled each time from the first, never more than the longest, with jitter."""

GIVE_UP_AFTER = timedelta(days=3)
"""Age at which an effect that still fails is dead, and a person must decide."""

MOST_REFUSALS = 3
"""Calls in a row of which nothing was taken, after which a system is left alone until the next delivery."""

WITHDRAWN = "withdrawn: "
"""How the error begins of an effect that is not wanted any more; nobody hears of it, and nobody waits for it."""

LONGEST_ERROR = 2_000
"""Characters kept of an error; some systems answer with whole pages."""

_GIVEN_UP = f"({{0}}.state = 'dead' and starts_with({{0}}.error, '{WITHDRAWN}'))"


# The answer to a dead effect is empty, and not lacking: whoever builds on it need not wait.
_WITH_ANSWER = """payload || coalesce((
                    select jsonb_build_object('posted', coalesce(a.answer, '{"dead": true}')) from effects a
                    where a.key = effects.payload ->> 'reply_to' and a.state in ('sent', 'dead')), '{}')"""
"""The SQL of a payload; one that replies to another effect (`reply_to`, its key) gets its answer as `posted`."""


@dataclass(frozen=True)
class Scope:
    """Which effects a delivery is about: those of some cases at one step, or all that are due.

    :param in_order: false where the effects of a case do not build on each other, so that none waits for another.
    """

    case_ids: Sequence[int] | None = None
    step: str | None = None
    in_order: bool = True

    @property
    def condition(self) -> str:
        """The SQL that restricts `effects e` to this scope."""
        return (
            ("true" if self.case_ids is None else "e.case_id = any(:case_ids)")
            + " and "
            + ("true" if self.step is None else "e.step = :step")
        )

    @property
    def turn(self) -> str:
        """The SQL that is true for an effect whose turn it is."""
        if not self.in_order:
            return "true"
        return f"""not exists (
                          select from effects earlier where earlier.case_id = e.case_id and earlier.step = e.step
                             and earlier.id < e.id and earlier.state <> 'sent' and not {_GIVEN_UP.format("earlier")}
                             and (earlier.operation <> e.operation or earlier.target = e.target))"""

    @property
    def values(self) -> dict[str, Any]:
        """The bound values of `condition`."""
        return {
            **({} if self.case_ids is None else {"case_ids": list(self.case_ids)}),
            **({} if self.step is None else {"step": self.step}),
        }


@dataclass
class Delivered:
    """How many effects one delivery brought to which end."""

    sent: int = 0
    failed: int = 0
    dead: int = 0
    unknown: int = 0


def write(connection: Connection, effects: Iterable[Effect], mode: Mode) -> int:
    """Write intended effects to the ledger; those it already has are not doubled.

    An effect that was not sent yet takes the newer payload, and one that was given up is tried again:
    planning anew is what a person's release of a case leads to.

    :returns: how many are new or renewed.
    """
    connection.execute(text("create temporary table if not exists planned (like effects) on commit delete rows"))
    written = copy_rows(
        connection,
        "planned",
        ("id", "key", "system", "operation", "case_id", "step", "target", "payload", "mode", "state", "attempts",
         "available_at", "created_at"),
        _rows(effects, mode),
    )  # fmt: skip
    if not written:
        return 0
    result = connection.execute(
        text("""
            insert into effects (key, system, operation, case_id, step, target, payload, mode, available_at)
            select key, system, operation, case_id, step, target, payload, mode,
                   case when available_at > created_at then available_at else now() end
            from (select distinct on (key) * from planned order by key, id) first order by id
            on conflict (key) do update set
                payload = excluded.payload, mode = excluded.mode,
                state = case when effects.state = 'dead' then 'pending' else effects.state end,
                error = case when effects.state = 'dead' then null else effects.error end,
                attempts = case when effects.state = 'dead' then 0 else effects.attempts end,
                available_at = case when effects.state = 'dead' then now() else effects.available_at end,
                created_at = case when effects.state = 'dead' then now() else effects.created_at end
            where effects.state = 'dead'
               or (effects.state in ('pending', 'failed') and effects.payload <> excluded.payload)""")
    )
    connection.execute(text("delete from planned"))
    return result.rowcount


def _rows(effects: Iterable[Effect], mode: Mode) -> Iterable[Sequence[Any]]:
    now = datetime.now(UTC)
    for place, e in enumerate(effects):
        yield (
            place, e.key, e.system, e.operation, e.case_id, e.step, e.target, Jsonb(e.payload), mode, "pending", 0,
            e.not_before or now, now,
        )  # fmt: skip


def deliver(engine: Engine, provider: Provider, *, system: str, scope: Scope | None = None) -> Delivered:
    """Deliver every due effect of `system` in `scope`, operation by operation, in bulk.

    Effects of one case and step go in the order they were planned; one that is not sent holds back those behind it,
    except for what is done in the same way to something else. What an interrupted delivery left is settled first.

    :param system: the role: `crm`, `erp`, `mail`, `chat`.
    """
    scope = scope or Scope()
    total = Delivered()
    settle(engine, provider, system=system, scope=scope)
    progress = True
    while progress:
        before = total.sent
        for operation in provider.operations:
            _deliver_operation(engine, provider, system, operation, scope=scope, total=total)
        progress = total.sent > before
    return total


def _deliver_operation(
    engine: Engine, provider: Provider, system: str, operation: str, *, scope: Scope, total: Delivered
) -> None:
    refused = 0
    while refused < MOST_REFUSALS and (effects := _claim(engine, provider, system, operation, scope)):
        outcomes = _attempt(provider, operation, effects)
        _record(engine, [e for e, _ in effects], outcomes, total)
        away = all(isinstance(outcome, Failed) and not outcome.permanent for outcome in outcomes)
        refused = refused + 1 if away else 0
    if refused:
        log.warning("%s does not take %s now; the rest waits", system, operation)


def settle(engine: Engine, provider: Provider, *, system: str, scope: Scope | None = None) -> Delivered:
    """Find out what became of effects whose sender died or was left without an answer."""
    scope = scope or Scope()
    total = Delivered()
    for name, operation in provider.operations.items():
        effects = _claim_unknown(engine, system, name, scope)
        for start in range(0, len(effects), provider.batch_size):
            part = effects[start : start + provider.batch_size]
            outcomes: Sequence[Outcome]
            if operation.settle is Settle.RESEND:
                outcomes = [Failed("its sender died; it is sent again under the same key", retry_after=0)] * len(part)
            elif operation.settle is Settle.ASSUME_SENT:
                outcomes = [Sent({"assumed": True})] * len(part)
            else:
                outcomes = _guarded(provider.settle, name, part)
            _record(engine, part, outcomes, total)
    return total


def _claim(
    engine: Engine, provider: Provider, system: str, operation: str, scope: Scope
) -> list[tuple[PendingEffect, Mode]]:
    with engine.begin() as connection:
        rows = connection.execute(
            text(f"""
                with due as materialized (
                    select e.id from effects e
                    where e.system = :system and e.operation = :operation and {scope.condition}
                      and e.state in ('pending', 'failed') and e.available_at <= now()
                      and {scope.turn}
                    order by e.id limit :limit for update skip locked
                )
                update effects
                set state = 'sending', attempts = attempts + 1, lease_until = now() + :lease, error = null
                from due where effects.id = due.id
                returning effects.id, key, operation, target, {_WITH_ANSWER}, attempts, mode"""),
            {
                "system": system,
                "operation": operation,
                "limit": provider.batch_size,
                "lease": SENDING_LEASE,
                **scope.values,
            },
        ).fetchall()
    return [(PendingEffect(*row[:6]), Mode(row[6])) for row in sorted(rows)]


def _claim_unknown(engine: Engine, system: str, operation: str, scope: Scope) -> list[PendingEffect]:
    """Take over what was being sent when its lease ran out; one settler at a time has it."""
    with engine.begin() as connection:
        rows = connection.execute(
            text(f"""
                with lost as materialized (
                    select e.id from effects e
                    where e.system = :system and e.operation = :operation and {scope.condition}
                      and ((e.state = 'sending' and e.lease_until < now())
                           or (e.state = 'unknown' and e.available_at <= now()))
                    order by e.id for update skip locked
                )
                update effects set state = 'sending', lease_until = now() + :lease, error = null
                from lost where effects.id = lost.id
                returning effects.id, key, operation, target, payload, attempts"""),
            {"system": system, "operation": operation, "lease": SENDING_LEASE, **scope.values},
        ).fetchall()
    return [PendingEffect(*row) for row in sorted(rows)]


def _attempt(provider: Provider, operation: str, effects: Sequence[tuple[PendingEffect, Mode]]) -> Sequence[Outcome]:
    """Send what is live; answer for the rest as the system might have."""
    live = [effect for effect, mode in effects if mode is Mode.LIVE]
    answers = dict(zip((e.id for e in live), _guarded(provider.apply, operation, live), strict=True)) if live else {}
    return [answers.get(e.id) or Sent({"captured": True, "id": f"captured-{e.id}"}) for e, _ in effects]


def _guarded(call: Any, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
    """A provider that breaks its promise not to raise has done nobody knows what."""
    try:
        outcomes: Sequence[Outcome] = call(operation, effects)
    except Exception as error:
        log.exception("the provider raised in %s", operation)
        return [Unknown(f"{type(error).__name__}: {error}")] * len(effects)
    return outcomes


def _record(engine: Engine, effects: Sequence[PendingEffect], outcomes: Sequence[Outcome], total: Delivered) -> None:
    """Write the outcomes; all that failed in one call come back together, so that they can go together."""
    jitter = random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, keeps no secret
    rows: list[dict[str, Any]] = []
    for effect, outcome in zip(effects, outcomes, strict=True):
        wait = min(FIRST_RETRY * 2 ** min(effect.attempts - 1, 20), LONGEST_RETRY) * jitter
        match outcome:
            case Sent(answer):
                row: dict[str, Any] = {"state": "sent", "answer": answer}
            case Failed(error, retry_after, permanent):
                row = {"state": "dead" if permanent else "failed", "error": error[:LONGEST_ERROR]}
                wait = wait if retry_after is None else retry_after
            case Unknown(error):
                row = {"state": "unknown", "error": error[:LONGEST_ERROR]}
        rows.append({**row, "id": effect.id, "wait": wait})
    with engine.begin() as connection:
        states = connection.execute(
            text("""
                update effects set
                    state = case when v.state = 'failed' and created_at < now() - :give_up then 'dead' else v.state end,
                    answer = v.answer, error = v.error, lease_until = null,
                    sent_at = case when v.state = 'sent' then now() end,
                    failed_at = case when v.state = 'sent' then failed_at else now() end,
                    available_at = now() + make_interval(secs => v.wait)
                from jsonb_to_recordset(:rows) as v(id bigint, state text, answer jsonb, error text, wait float8)
                where effects.id = v.id and effects.state = 'sending'
                returning effects.state"""),
            {"give_up": GIVE_UP_AFTER, "rows": Jsonb(rows)},
        ).scalars()
        for state in states:
            setattr(total, state, getattr(total, state) + 1)


def withdraw(connection: Connection, case_id: int, steps: Sequence[str], why: str) -> bool:
    """Give up what a case's steps have not sent, because a person does not want it any more; nobody sends it then.

    Call it in the transaction that makes it unwanted. It may be planned anew; that is for the plan to leave.

    :returns: False when something is being sent at this moment, or nobody knows whether it was; nothing is given up.
    """
    values = {"id": case_id, "steps": list(steps), "error": WITHDRAWN + why}
    states = connection.execute(
        text("""
            select state from effects where case_id = :id and step = any(:steps) and state <> 'sent'
            order by id for update"""),
        values,
    ).scalars()
    if {"sending", "unknown"} & set(states):
        return False
    connection.execute(
        text("""
            update effects set state = 'dead', error = :error
            where case_id = :id and step = any(:steps) and state in ('pending', 'failed', 'dead')"""),
        values,
    )
    return True


def withdraw_unplanned(
    connection: Connection, case_ids: Sequence[int], step: str, planned: Iterable[Effect], why: str
) -> None:
    """Give up what a step has not sent of its cases and does not plan any more.

    For a plan that names every effect that a case is to have, however often it runs.
    """
    connection.execute(
        text(f"""
            update effects e set state = 'dead', error = :error
            where case_id = any(:ids) and step = :step and key <> all(:keys)
              and state in ('pending', 'failed', 'dead') and not {_GIVEN_UP.format("e")}"""),
        {"ids": list(case_ids), "step": step, "keys": [effect.key for effect in planned], "error": WITHDRAWN + why},
    )


@dataclass(frozen=True)
class Standing:
    """Where a case's effects of one step stand.

    :param open_until: when the last open one is due again, or None when none is open. One whose sender died is due
        when its lease ends.
    :param dead: the errors of those given up, by operation.
    """

    open_until: datetime | None
    dead: dict[str, str]


def standings(connection: Connection, case_ids: Sequence[int], step: str) -> dict[int, Standing]:
    """Return where the effects of `step` stand, for each case that has one not sent; a withdrawn one does not count."""
    rows = connection.execute(
        text(f"""
            select case_id,
                   max(case when state = 'sending' then lease_until else available_at end)
                       filter (where state <> 'dead'),
                   coalesce(jsonb_object_agg(operation, error) filter (where state = 'dead'), '{{}}')
            from effects
            where case_id = any(:ids) and step = :step and state <> 'sent' and not {_GIVEN_UP.format("effects")}
            group by case_id"""),
        {"ids": list(case_ids), "step": step},
    )
    return {case_id: Standing(open_until, dead) for case_id, open_until, dead in rows}
