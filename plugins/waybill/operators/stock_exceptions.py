"""The tasks of the daily report of stock exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from include.data.database import engine
from include.environment import current
from include.integrations.systems import Mode
from include.monitoring.stock_exceptions import findings
from include.stock.warehouse import warehouse
from waybill.systems import provider

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReportStockExceptionsOperator(BaseOperator):
    """Find and keep what is out of order, write the page, and put the digest into the ledger.

    :param at: (templated) a moment of the day that it is the report of, which is that of the company's place.
    :returns: how many exceptions there are.
    """

    template_fields: Sequence[str] = ("at",)

    def __init__(self, *, at: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.at = at

    def execute(self, context: Context) -> int:  # noqa: ARG002 - the moment is templated
        """Report."""
        day = warehouse().day_of(datetime.fromisoformat(self.at))
        return findings.report(engine(), day, Mode(current().effect_mode))


class TellStockExceptionsOperator(BaseOperator):
    """Deliver the digest; fails, and so is tried again, until the chat has taken it."""

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Deliver it."""
        left = findings.deliver(engine(), provider("chat"))
        if left:
            raise AirflowException(f"the chat has not taken {left} digests yet; the ledger says why")
