"""Runs a step that changes outside systems: plan into the ledger, deliver, then move the cases by what came of it.

Three transactions, so that nothing is held while a system answers, and a crash between them loses nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from include.cases import store
from include.cases.model import Reason, StepResult, Work
from include.cases.steps import Position, Tally, without_collecting, without_culprits, work_at
from include.integrations import ledger
from include.integrations.http import Unavailable, UnknownOutcome
from include.integrations.systems import Effect, Mode, Provider

log = logging.getLogger(__name__)

Plan = Callable[[Work, Provider], Sequence[Effect]]
"""Says which effects a step intends for its cases; reads, and writes nothing outside Waybill's database."""

SOONEST_RETRY = timedelta(seconds=1)
SYSTEM_AWAY = "system away"
"""The event, on one case of the batch, that a system could not even be read; the alerts look for it."""
AWAY_FOR = timedelta(seconds=10)
"""Time until a system is asked again that did not answer and named no time."""


def run_effect_step(
    engine: Engine, position: Position, plan: Plan, provider: Provider, *, system: str, mode: Mode
) -> Tally:
    """Plan and deliver a step's effects, and move on the cases whose effects are all sent.

    A case with a dead effect is quarantined with the system's error. A case whose effects could not be sent
    yet is put back until they are due again: the system's trouble stops this step only, and for these cases only.
    """
    store.renew(engine, position.claim_id)
    unplanned = StepResult()
    with work_at(engine, position) as work:
        if not work.case_ids:
            return Tally()
        unplanned = without_culprits(work, lambda part: _plan(part, plan, provider, system, mode))
        store.apply(replace(work, case_ids=sorted(unplanned.stopped())), unplanned, position.following)
    with without_collecting():
        ledger.deliver(engine, provider, system=system, scope=ledger.Scope(work.case_ids, position.step))
    store.renew(engine, position.claim_id)
    with work_at(engine, position) as rest:
        result = _by_standing(rest, system)
        store.apply(rest, result, position.following)
    result.update(unplanned)
    tally = Tally.of(work.case_ids, result)
    log.info("%s: %s", position.step, tally)
    return tally


def _plan(work: Work, plan: Plan, provider: Provider, system: str, mode: Mode) -> StepResult:
    """Write what is planned to the ledger; where the plan needs to read a system that is away, all cases wait."""
    try:
        effects = plan(work, provider)
    except (Unavailable, UnknownOutcome) as trouble:
        log.warning("%s cannot be planned now: %s", work.step, trouble)
        store.record(work.connection, SYSTEM_AWAY, work.case_ids[:1], {"system": system, "cases": len(work.case_ids)})
        asked = timedelta(seconds=getattr(trouble, "retry_after", None) or 0)
        again = datetime.now(UTC) + max(asked, AWAY_FOR)
        return StepResult(put_back=dict.fromkeys(work.case_ids, again))
    ledger.write(work.connection, effects, mode)
    return StepResult()


def _by_standing(work: Work, system: str) -> StepResult:
    result = StepResult()
    soonest = datetime.now(UTC) + SOONEST_RETRY
    for case_id, standing in ledger.standings(work.connection, work.case_ids, work.step).items():
        if standing.dead:
            result.quarantine[case_id] = [
                Reason(f"effect.{system}", f"{system} refused {operation}: {error}")
                for operation, error in standing.dead.items()
            ]
        elif standing.open_until is not None:
            result.put_back[case_id] = max(standing.open_until, soonest)
    return result
