"""The task by which a person changes a purchase request that is not ordered yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.data.database import engine
from include.domain.purchase_approval.change import ChangeRefused, change
from waybill.operators.forms import account_of, triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context


class ChangePurchaseOperator(BaseOperator):
    """Change a request that is not ordered yet; what was decided about it is void. The parameter `request` names it.

    :returns: the names of the fields that were changed.
    """

    def execute(self, context: Context) -> list[str]:
        """Change the request."""
        wanted: dict[str, Any] = dict(context["params"])
        number = wanted.pop("request")
        changes = {name: value for name, value in wanted.items() if value not in (None, "", [])}
        try:
            changed = change(
                engine(),
                number,
                changes,
                account=account_of(context),
                actor=triggered_by(context),
                run=context["run_id"],
            )
        except ChangeRefused as error:
            raise AirflowFailException(str(error)) from None
        self.log.info("%s is decided anew; changed: %s", number, ", ".join(changed))
        return changed
