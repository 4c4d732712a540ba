"""A stand-in for any outside system: keeps what it was sent, by key, and misbehaves on request."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence

from include.integrations.systems import Failed, Operation, Outcome, PendingEffect, Sent, Settle, Unknown

Fault = Callable[[PendingEffect], Outcome | None]


class Crash(BaseException):
    """The process dies: nothing after the call runs."""


class StandInSystem:
    """A system of two operations; `create` may be settled in the way under test."""

    name = "stand-in"

    def __init__(self, settle: Settle = Settle.LOOKUP, batch_size: int = 10) -> None:
        self.batch_size = batch_size
        self.operations = {
            "create": Operation("create", settle),
            "update": Operation("update", Settle.RESEND),
        }
        self.has: Counter[str] = Counter()
        """How often each effect took place."""
        self.fault: Fault = lambda effect: None
        self.dies_after_write = False
        self.calls: list[tuple[str, list[str]]] = []
        self._lock = threading.Lock()

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Take the effects, or do as `fault` says for each."""
        with self._lock:
            self.calls.append((operation, [effect.target for effect in effects]))
            outcomes = [self._take(effect) for effect in effects]
        if self.dies_after_write:
            raise Crash
        return outcomes

    def _take(self, effect: PendingEffect) -> Outcome:
        outcome = self.fault(effect)
        if outcome is None or isinstance(outcome, Unknown):
            self.has[effect.key] += 1
        return outcome or Sent({"id": f"theirs-{effect.target}"})

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Say which of the effects took place."""
        return [
            Sent({"id": f"theirs-{effect.target}"}) if self.has[effect.key] else Failed("it has none", retry_after=0)
            for effect in effects
        ]
