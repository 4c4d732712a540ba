"""The step `approve`: whether it is approved."""

from __future__ import annotations

from include.cases.model import Work


def approve(work: Work) -> None:
    """Let every request go on."""
