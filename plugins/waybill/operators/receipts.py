"""The task by which a person says that no more of an order's line is expected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.data.database import authored, engine
from include.domain.goods_receipt.close_short import CloseRefused, close_short
from waybill.operators.forms import triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context


class CloseShortOperator(BaseOperator):
    """Close a line of an order short; the parameters are `order`, `line` and `reason`.

    :returns: the purchase's case, what was missing, and whether it changed anything.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Close it."""
        wanted, actor = context["params"], triggered_by(context)
        try:
            with authored(engine(), actor=actor, run=context["run_id"]) as connection:
                closed = close_short(
                    connection, order=wanted["order"], line=wanted["line"], reason=wanted["reason"] or ""
                )
        except CloseRefused as error:
            raise AirflowFailException(str(error)) from None
        self.log.info(
            "line %d of %s is closed short%s; %s are not expected any more",
            wanted["line"], wanted["order"], "" if closed.changed else ", as before", closed.missing,
        )  # fmt: skip
        return {"case": closed.case_id, "missing": str(closed.missing), "changed": closed.changed}
