"""The step `value`: values what moved."""

from __future__ import annotations

from include.cases.model import Work


def value(work: Work) -> None:
    """Let every request go on."""
