"""The task by which a person enters a stock request."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.data.database import engine
from include.domain.stock_request.entry import FormRefused, submit
from include.intake.files import ImportRefused
from waybill.operators.quarantine import triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context


class EnterStockRequestOperator(BaseOperator):
    """Store the form's fields as one delivery, in the name of whoever triggered the run; trying again adds nothing.

    :returns: whether it is new, or was there already.
    """

    def execute(self, context: Context) -> dict[str, int]:
        """Store the request."""
        actor = triggered_by(context)
        try:
            result = submit(
                engine(),
                dict(context["params"]),
                account=actor.removeprefix("user:"),
                form_id=context["run_id"],
                actor=actor,
            )
        except (FormRefused, ImportRefused) as error:
            raise AirflowFailException(str(error)) from None
        for line in result.told:
            self.log.warning("%s", line)
        if result.unreadable or result.conflicts:
            raise AirflowFailException("the request was not stored; the lines above say why")
        return {name: count for name, count in asdict(result).items() if name in ("new", "repeated")}
