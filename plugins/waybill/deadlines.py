"""The moment from which a run's deadline counts: when the run was made.

Stands in for Airflow's own `DAGRUN_QUEUED_AT`, with which no run that has yet to succeed can be cleared: the API server
answers 500 (apache/airflow#70368, open for 3.3.2). Drop this module, and use that reference, once it is mended.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from airflow.sdk.definitions.deadline import BaseDeadlineReference


class RunMade(BaseDeadlineReference):
    """When a run was made, which for every run of ours is when it was queued; a clear does not move it."""

    def _evaluate_with(self, **_: Any) -> datetime:
        """Return this moment, for Airflow asks while it makes the run."""
        return datetime.now(UTC)
