"""The task by which a person says who decides for them while they are away."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.approvals import delegations
from include.data.database import authored, engine
from waybill.operators.forms import triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context


class DelegateOperator(BaseOperator):
    """Enter a delegation, or end one; the parameters are `deputy`, `person`, `starts`, `ends`, `reason` and `end`.

    :returns: the delegation's id, and whether it changed anything.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Enter or end it."""
        wanted, actor = context["params"], triggered_by(context)
        account = actor.removeprefix("user:")
        try:
            with authored(engine(), actor=actor, run=context["run_id"]) as connection:
                if wanted["end"] is not None:
                    number = int(wanted["end"])
                    changed = delegations.end_by(connection, number, account)
                    self.log.info("delegation %d is ended%s", number, "" if changed else ", as before")
                else:
                    number, changed = delegations.enter(
                        connection,
                        account,
                        person=wanted["person"],
                        deputy=wanted["deputy"],
                        starts=_day(wanted["starts"]),
                        ends=_day(wanted["ends"]),
                        reason=wanted["reason"] or "",
                    )
                    self.log.info(
                        "delegation %d is entered%s; to end it early, trigger this with its number under `end`",
                        number, "" if changed else ", as before",
                    )  # fmt: skip
        except delegations.DelegationInvalid as error:
            raise AirflowFailException(str(error)) from None
        return {"delegation": number, "changed": changed}


def _day(value: str | None) -> date | None:
    return date.fromisoformat(value) if value else None
