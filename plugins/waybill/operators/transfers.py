"""The task by which a person says that no more of a transfer will come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.approvals.people import people
from include.data.database import authored, engine
from include.domain.stock_request.transfers import CloseRefused, close_short
from waybill.operators.forms import account_of, triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context


class CloseTransferOperator(BaseOperator):
    """Ask that what is missing of a transfer is given up; the parameters are `transfer` and `reason`.

    :returns: the transfer's case, what is missing by item, and whether this asked for it.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask."""
        wanted, account = context["params"], account_of(context)
        person = people().by_airflow(None, account)
        if person is None or person.shared:
            raise AirflowFailException(f"{account} is no one person of people.yaml: sign in as yourself, and ask again")
        try:
            with authored(engine(), actor=triggered_by(context), run=context["run_id"]) as connection:
                asked = close_short(
                    connection, number=wanted["transfer"] or "", person=person.id, reason=wanted["reason"] or ""
                )
        except CloseRefused as error:
            raise AirflowFailException(str(error)) from None
        missing = {" ".join(filter(None, name)): f"{quantity:f}" for name, quantity in asked.missing.items()}
        if asked.changed:
            self.log.info("%s is missing of %s; the adjustment waits for approval", missing, wanted["transfer"])
        else:
            self.log.info("somebody asked before, and that is still to be decided; nothing changed")
        return {"case": asked.case_id, "missing": missing, "changed": asked.changed}
