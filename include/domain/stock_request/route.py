"""The step `route`: who decides."""

from __future__ import annotations

from include.cases.model import Work


def route(work: Work) -> None:
    """Let every request go on."""
