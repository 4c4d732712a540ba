"""The step `log`: closes the case."""

from __future__ import annotations

from include.cases.model import Work


def log(work: Work) -> None:
    """Let every request go on."""
