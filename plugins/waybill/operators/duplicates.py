"""The task by which a person decides about a possible duplicate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.data.database import authored, engine
from include.data.matching import decisions
from include.environment import current
from include.integrations import merges
from include.integrations.systems import Mode
from waybill.operators.forms import triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context


class DecideDuplicateOperator(BaseOperator):
    """Merge a pair of contacts, keep it apart, or undo either; the parameters are `pair_id` and `decision`.

    :returns: the state of the pair.
    """

    def execute(self, context: Context) -> str:
        """Decide."""
        wanted, actor = context["params"], triggered_by(context)
        try:
            with authored(engine(), actor=actor, run=context["run_id"]) as connection:
                mode = Mode(current().effect_mode)
                decision = merges.ACTIONS[wanted["decision"]](connection, wanted["pair_id"], actor, mode)
        except (decisions.PairUnknown, decisions.DecidedOtherwise) as error:
            raise AirflowFailException(str(error)) from None
        self.log.info("pair %d is %s%s", decision.pair_id, decision.state, "" if decision.changed else ", as before")
        return decision.state
