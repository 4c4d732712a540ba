"""The tasks that compare the stock with the ERP, and take a keeper's decision about a difference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from include.data.database import authored, engine
from include.domain.stock_difference.decide import SettleRefused, settle
from include.domain.stock_difference.find import LedgerBroken, reconcile
from include.environment import current
from include.integrations.http import SystemTrouble, Unavailable, UnknownOutcome
from include.integrations.systems import Mode
from waybill.operators.forms import triggered_by
from waybill.systems import closing_provider

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReconcileOperator(BaseOperator):
    """Compare the stock with the ERP, open cases for what differs, and look at the open ones again.

    :returns: how much was compared, how much differs, and what became of the cases.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Compare."""
        if (mode := Mode(current().effect_mode)) is not Mode.LIVE:
            raise AirflowSkipException(f"effects are not sent here ({mode}): the ERP has nothing to compare")
        try:
            with closing_provider("erp") as erp:
                done = reconcile(engine(), erp, run=context["run_id"])
        except LedgerBroken as broken:
            raise AirflowFailException(str(broken)) from None
        except (Unavailable, UnknownOutcome) as trouble:
            raise AirflowException(f"the ERP does not answer, and nothing was compared: {trouble}") from trouble
        except SystemTrouble as trouble:
            raise AirflowFailException(f"the ERP cannot be read, and nothing was compared: {trouble}") from trouble
        if done.foreign:
            self.log.warning("%d items are in the ERP alone, and were not compared", done.foreign)
        if done.file:
            self.log.warning("the differences are too many for cases of their own: they are in %s", done.file)
        self.log.info(
            "%d places compared, %d left out as something moves there, %d differ; %d cases opened, %d gone, %d changed",
            done.compared, done.moving, done.differing, done.opened, done.gone, done.changed,
        )  # fmt: skip
        return {
            "compared": done.compared,
            "moving": done.moving,
            "differing": done.differing,
            "opened": done.opened,
            "gone": done.gone,
            "changed": done.changed,
            "file": done.file.name if done.file else None,
        }


class SettleDifferenceOperator(BaseOperator):
    """Take a decision about a difference; the parameters are `case_id`, `seen`, `decision` and `reason`.

    :returns: the case and what was decided.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Take it."""
        wanted, actor = context["params"], triggered_by(context)
        try:
            with authored(engine(), actor=actor, run=context["run_id"]) as connection:
                settled = settle(
                    connection,
                    case_id=wanted["case_id"],
                    decision=wanted["decision"],
                    seen=wanted["seen"] or "",
                    reason=wanted["reason"] or "",
                    actor=actor,
                )
        except SettleRefused as error:
            raise AirflowFailException(str(error)) from None
        self.log.info("the difference %d is decided: %s", settled.case_id, settled.decision)
        return {"case": settled.case_id, "decision": settled.decision}
