"""The tasks by which a person requests a purchase, or changes a request that is not ordered yet."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.data.database import engine
from include.domain.purchase_approval.change import ChangeRefused, change
from include.domain.purchase_approval.request import FormRefused, submit
from include.intake.files import ImportRefused
from waybill.operators.quarantine import triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context


def account_of(context: Context) -> str:
    """Return the name of the account that triggered the run."""
    return triggered_by(context).removeprefix("user:")


class RequestPurchaseOperator(BaseOperator):
    """Store the form's fields as one delivery, in the name of whoever triggered the run; trying again adds nothing.

    :returns: whether it is new, or was there already.
    """

    def execute(self, context: Context) -> dict[str, int]:
        """Store the request."""
        try:
            result = submit(
                engine(),
                dict(context["params"]),
                account=account_of(context),
                form_id=context["run_id"],
                actor=triggered_by(context),
            )
        except (FormRefused, ImportRefused) as error:
            raise AirflowFailException(str(error)) from None
        for line in result.told:
            self.log.warning("%s", line)
        if result.unreadable or result.conflicts:
            raise AirflowFailException("the request was not stored; the lines above say why")
        return {name: count for name, count in asdict(result).items() if name in ("new", "repeated")}


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
