"""The task by which a person cancels an order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.data.database import engine
from include.domain.purchase_approval.cancel import CancelRefused, NotTaken, cancel, tell
from include.environment import current
from include.integrations.systems import Mode
from waybill.operators.forms import triggered_by
from waybill.systems import closing_provider

if TYPE_CHECKING:
    from airflow.sdk import Context


class CancelOrderOperator(BaseOperator):
    """Cancel an order and tell ERP and supplier; the parameters are `order`, `reason` and `dry_run`.

    Where a system does not take it now, the task is tried again; the order is cancelled meanwhile.

    :returns: the purchase's case, what is free again, and whether it changed anything.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Cancel it."""
        wanted, actor = context["params"], triggered_by(context)
        dry_run = bool(wanted["dry_run"])
        try:
            done = cancel(
                engine(),
                wanted["order"],
                reason=wanted["reason"] or "",
                account=actor.removeprefix("user:"),
                actor=actor,
                mode=Mode(current().effect_mode),
                run=context["run_id"],
                dry_run=dry_run,
            )
        except CancelRefused as error:
            raise AirflowFailException(str(error)) from None
        self.log.info(
            "%s %s; free again: %s; told: %s",
            done.number,
            ("would be cancelled" if dry_run else "is cancelled") if done.changed else "was cancelled before",
            done.freed,
            ", ".join(done.told) or "nobody, for nobody had it",
        )
        if not dry_run:
            try:
                tell(engine(), done.case_id, closing_provider)
            except NotTaken as error:
                raise AirflowFailException(str(error)) from None
        return {"case": done.case_id, "freed": str(done.freed), "changed": done.changed and not dry_run}
