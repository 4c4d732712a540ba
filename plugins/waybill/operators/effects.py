"""Tasks that change outside systems: plan a step's effects into the ledger and deliver them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from include.data.database import engine
from include.environment import current
from include.integrations import uncarried
from include.integrations.steps import Plan, run_effect_step
from include.integrations.systems import Mode
from waybill.operators.cases import _ClaimedOperator
from waybill.systems import closing_provider

if TYPE_CHECKING:
    from airflow.sdk import Context


class EffectStepOperator(_ClaimedOperator):
    """Plan and deliver the effects of one step, by its task id, for the claimed cases that stand at it.

    Clearing it is safe: an effect that was sent is not planned again.

    :param plan: says which effects the step intends, a plain function of the workflow's domain.
    :param system: the role they go to: `crm`, `erp`, `mail`, `chat`.
    :returns: counts of what came of the cases.
    """

    def __init__(self, *, plan: Plan, system: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan: Callable[..., Any] = plan
        self.system = system

    def execute(self, context: Context) -> dict[str, int]:
        """Plan, deliver, and move the cases by what came of it."""
        mode = Mode(current().effect_mode)
        with closing_provider(self.system) as found:
            tally = run_effect_step(engine(), self.position(context), self.plan, found, system=self.system, mode=mode)
        return asdict(tally)


class DeliverDueEffectsOperator(BaseOperator):
    """Deliver what is due and no case carries; what a system does not take now comes again when it is due anew.

    :returns: how many each system took.
    """

    def execute(self, context: Context) -> dict[str, int]:  # noqa: ARG002
        """Deliver it."""
        return uncarried.deliver_due(engine(), closing_provider)
