"""The step `update_erp`: the same movements in the ERP."""

from __future__ import annotations

from include.cases.model import Work
from include.integrations.systems import Effect, Provider


def plan_update_erp(work: Work, erp: Provider) -> list[Effect]:  # noqa: ARG001 - every plan is given its provider
    """Plan nothing yet."""
    return []
