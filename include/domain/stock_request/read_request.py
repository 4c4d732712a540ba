"""The step `read_request`: what was sent, in columns and lines."""

from __future__ import annotations

from include.cases.model import Work


def read_request(work: Work) -> None:
    """Let every request go on."""
