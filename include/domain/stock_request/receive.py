"""The step `receive`: a transfer waits until all has arrived."""

from __future__ import annotations

from include.cases.model import Work


def receive(work: Work) -> None:
    """Let every request go on."""
