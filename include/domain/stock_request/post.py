"""The step `post`: posts the movements."""

from __future__ import annotations

from include.cases.model import Work


def post(work: Work) -> None:
    """Let every request go on."""
