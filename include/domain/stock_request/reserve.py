"""The step `reserve`: what a request takes is kept for it."""

from __future__ import annotations

from include.cases.model import Work


def reserve(work: Work) -> None:
    """Let every request go on."""
