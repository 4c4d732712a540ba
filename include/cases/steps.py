"""Runs one step over the cases of a claim, so that one bad case harms no other.

Knows nothing of Airflow and nothing of what a step does.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError, OperationalError

from include.cases import store
from include.cases.model import Reason, Step, StepResult, Work
from include.data.database import authored

log = logging.getLogger(__name__)

MOST_CULPRITS = 50
"""More failing cases than this in one batch are a fault of the step, not of the cases."""


class StepBroken(RuntimeError):
    """A step fails for so many cases that the step itself must be mended."""


@dataclass(frozen=True)
class Tally:
    """What one execution of a step came to; holds numbers only, so it may travel through Airflow."""

    taken: int = 0
    advanced: int = 0
    quarantined: int = 0
    finished: int = 0
    put_back: int = 0
    waiting: int = 0
    sent_back: int = 0

    @classmethod
    def of(cls, case_ids: Sequence[int], result: StepResult) -> Tally:
        """Count what `result` makes of `case_ids`."""
        return cls(
            taken=len(case_ids),
            advanced=len(case_ids) - len(result.stopped()),
            quarantined=len(result.quarantine),
            finished=len(result.close),
            put_back=len(result.put_back),
            waiting=len(result.wait),
            sent_back=len(result.send_back),
        )


@dataclass(frozen=True)
class Position:
    """Where in a workflow a step stands, and for which claim and run it works.

    :param steps: the workflow's steps in order.
    """

    workflow: str
    steps: Sequence[str]
    step: str
    claim_id: int
    run_id: str

    @property
    def following(self) -> str | None:
        """The next step, or None after the last."""
        place = self.steps.index(self.step) + 1
        return self.steps[place] if place < len(self.steps) else None


@contextmanager
def without_collecting() -> Iterator[None]:
    """Leave garbage in cycles for after the batch: to look for it while rows pile up takes a third of a step's time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def work_at(engine: Engine, position: Position) -> Iterator[Work]:
    """Open a transaction that holds the claim's cases at this step.

    A second execution at the same time waits here, and then finds nothing left to do.
    """
    actor = f"system:{position.workflow}"
    with (
        without_collecting(),
        authored(engine, actor=actor, run=position.run_id, step=position.step) as connection,
    ):
        ids = store.cases_at(connection, position.claim_id, position.step)
        yield Work(connection, position.workflow, position.step, position.claim_id, ids, position.run_id)


def run_step(engine: Engine, position: Position, step: Step) -> Tally:
    """Run `step` over the claim's cases that stand at it, and move them on, in one transaction.

    :raises StepBroken: when the step fails for more than `MOST_CULPRITS` cases.
    :raises sqlalchemy.exc.OperationalError: when the database is away; trying again is safe.
    """
    store.renew(engine, position.claim_id)
    with work_at(engine, position) as work:
        if not work.case_ids:
            return Tally()
        result = without_culprits(work, step)
        store.apply(work, result, position.following)
    tally = Tally.of(work.case_ids, result)
    log.info("%s: %s", position.step, tally)
    return tally


def without_culprits(work: Work, step: Step) -> StepResult:
    """Run `step`; where it raises, halve the batch until the cases that make it raise stand alone.

    These are quarantined with the error; the others get their result.
    """
    result = StepResult()
    batches = [work.case_ids]
    while batches:
        ids = batches.pop()
        try:
            with work.connection.begin_nested():
                result.update(step(replace(work, case_ids=ids)) or StepResult())
        except Exception as error:
            if is_transient(error):
                raise
            if len(ids) > 1:
                batches += [ids[: len(ids) // 2], ids[len(ids) // 2 :]]
                continue
            log.warning("case %s fails in %s: %s", ids[0], work.step, type(error).__name__)
            result.quarantine[ids[0]] = [_reason(work.step, error)]
            culprits = sum(1 for reasons in result.quarantine.values() if reasons[0].code.startswith("error."))
            if culprits > MOST_CULPRITS:
                raise StepBroken(
                    f"{work.step} fails for more than {MOST_CULPRITS} of {len(work.case_ids)} cases, "
                    f"the last time with {type(error).__name__}: mend the step, then clear this task"
                ) from error
    return result


def is_transient(error: BaseException) -> bool:
    """Tell whether trying the same again, later, can be expected to work."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, OperationalError | ConnectionError | TimeoutError)


def _reason(step: str, error: BaseException) -> Reason:
    cause = getattr(error, "orig", None) or error
    return Reason(f"error.{step}", f"{type(cause).__name__}: {str(cause)[:500]}")
