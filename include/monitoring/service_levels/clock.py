"""The clock of service levels: by when a case and each of its steps is due, worked out from what happened to the case.

Pure: the same history and the same contract always give the same times, whenever one looks. What came of them by now
is `include.monitoring.service_levels.facts`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from include.contracts.model import Contract, ServiceLevel, Team
from include.data.business_time import Calendar, add, between, calendar_of

CLOSED = ("finished", "rejected")


@dataclass(frozen=True, slots=True)
class Move:
    """From `at` on the case was in `state` at `step`; `asked` is the state of one that waits for an answer."""

    at: datetime
    step: str
    state: str


@dataclass(frozen=True, slots=True)
class Level:
    """One service level of one case.

    :param step: None for the whole case.
    :param visit: 1 for the first time that the case came to the step, or was open.
    :param warn_at: when it is about to be late; like the next two None while the clock stands before it.
    :param ended_at: when the case left the step, or closed; None while it has not.
    :param stopped: how long the clock stood, without the stop that goes on now.
    :param stopped_since: since when it stands now.
    """

    step: str | None
    visit: int
    started_at: datetime
    warn_at: datetime | None
    due_at: datetime | None
    escalate_at: datetime | None
    ended_at: datetime | None
    stopped: timedelta
    stopped_since: datetime | None


@dataclass(frozen=True, slots=True)
class _Span:
    """A part of a case's life between two moves; the last one may have no end yet."""

    start: datetime
    end: datetime | None
    step: str
    state: str


def levels(declared: Contract, received: datetime, moves: Sequence[Move]) -> list[Level]:
    """Return every service level of a case, those of its steps in the order in which it came to them.

    A case that was closed and is opened again begins anew, and so does a step to which it comes back.

    :param received: when its delivery came, which is when the clock `received` began.
    :param moves: all of them, in order.
    """
    steps = {step.id: step for step in declared.steps}
    found: list[Level] = []
    visits: dict[str, int] = {}
    for number, passage in enumerate(_passages(received, moves), start=1):
        found.append(_measured(None, number, passage, declared.service_level, declared.owner))
        begin = 0
        for step_id, stay in groupby(passage, key=lambda span: span.step):
            end = begin + len(list(stay))
            if step_id in steps:
                visits[step_id] = visits.get(step_id, 0) + 1
                level = steps[step_id].service_level
                counted = passage[0 if level.clock == "received" else begin : end]
                found.append(_measured(step_id, visits[step_id], counted, level, steps[step_id].owner))
            begin = end
    return found


def _passages(received: datetime, moves: Sequence[Move]) -> Iterable[list[_Span]]:
    """The parts of its life in which a case was open, each as its spans."""
    # In UTC, for arithmetic in a zone forgets that its clock changes. A server's clock that is put back is held.
    times: list[datetime] = []
    for moment in (received, *(move.at for move in moves[1:])):
        times.append(max(moment.astimezone(UTC), times[-1]) if times else moment.astimezone(UTC))
    spans: list[_Span] = []
    for move, at, following in zip(moves, times, [*times[1:], None], strict=True):
        if move.state not in CLOSED:
            spans.append(_Span(at, following, move.step, move.state))
        elif spans:
            yield spans
            spans = []
    if spans:
        yield spans


def _measured(step: str | None, visit: int, spans: Sequence[_Span], level: ServiceLevel, owner: Team) -> Level:
    calendar = calendar_of(owner.country, owner.region, owner.zone) if level.business_hours else None
    last = spans[-1]
    standing = [level.stands(span.state, span.step) for span in spans]
    # What is over is measured as if it had gone on: it was met when it ended before it would have been due.
    going = [
        (span.start, None if span is last else span.end)
        for span, stands in zip(spans, standing, strict=True)
        if not stands
    ]
    stop = len(spans)
    while stop and last.end is None and standing[stop - 1]:
        stop -= 1
    stops = (span for span, stands in zip(spans[:stop], standing, strict=False) if stands)
    return Level(
        step=step,
        visit=visit,
        started_at=spans[0].start,
        warn_at=_reached(level.within * level.warn_at, going, calendar),
        due_at=_reached(level.within, going, calendar),
        escalate_at=_reached(level.escalates, going, calendar),
        ended_at=last.end,
        stopped=sum((span.end - span.start for span in stops if span.end), timedelta(0)),
        stopped_since=spans[stop].start if stop < len(spans) else None,
    )


def _reached(
    amount: timedelta, going: Iterable[tuple[datetime, datetime | None]], calendar: Calendar | None
) -> datetime | None:
    """When `amount` has passed on a clock that goes in these stretches only, or None when it stands before that."""
    left = amount
    for start, end in going:
        moment = add(start, left, calendar) if calendar else start + left
        if end is None or moment <= end:
            return moment
        left -= between(start, end, calendar) if calendar else end - start
    return None
