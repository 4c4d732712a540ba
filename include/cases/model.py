"""The words of a case: why it is set aside, what a step works on, what a step made of it.

Values only; the SQL that moves cases is in `include.cases.store`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection


@dataclass(frozen=True)
class Reason:
    """Why a case cannot go on.

    :param code: for machines, `<field or part>.<what>`, e.g. `phone.invalid`; the contract lists what to do about it.
    :param message: for the person who must act; may hold personal data, so it stays out of events and logs.
    :param field: the canonical field to correct, where there is one.
    """

    code: str
    message: str
    field: str | None = None

    def as_json(self) -> dict[str, str]:
        """Return the form in which `cases.reasons` holds it."""
        return {"code": self.code, "message": self.message, **({"field": self.field} if self.field else {})}


@dataclass(frozen=True)
class Work:
    """The part of a claimed batch that stands at one step, inside one authored transaction."""

    connection: Connection
    workflow: str
    step: str
    claim_id: int
    case_ids: list[int]
    run_id: str

    @property
    def values(self) -> dict[str, object]:
        """Bound values that the SQL of every step needs."""
        return {"ids": self.case_ids}


@dataclass
class StepResult:
    """What a step made of its cases; a case that is not named here goes on to the next step.

    :param quarantine: case -> reasons.
    :param close: case -> outcome; the case is finished.
    :param put_back: case -> when it may be tried again, at the same step (a system is away).
    :param wait: case -> the person or team it now waits for.
    :param send_back: case -> an earlier step, from which it goes on in a later run.
    """

    quarantine: dict[int, list[Reason]] = field(default_factory=dict)
    close: dict[int, str] = field(default_factory=dict)
    put_back: dict[int, datetime] = field(default_factory=dict)
    wait: dict[int, str] = field(default_factory=dict)
    send_back: dict[int, str] = field(default_factory=dict)

    def update(self, other: StepResult) -> None:
        """Add what another part of the same batch came to."""
        self.quarantine.update(other.quarantine)
        self.close.update(other.close)
        self.put_back.update(other.put_back)
        self.wait.update(other.wait)
        self.send_back.update(other.send_back)

    def stopped(self) -> set[int]:
        """Return the cases that do not go on by themselves."""
        return {*self.quarantine, *self.close, *self.put_back, *self.wait, *self.send_back}


Step = Callable[[Work], StepResult | None]


def codes(reasons: Iterable[Reason]) -> list[str]:
    """Return the machine-readable part of `reasons`."""
    return [reason.code for reason in reasons]
