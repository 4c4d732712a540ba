"""The tasks of the daily report of stock exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from include.data.database import engine
from include.environment import current
from include.integrations.systems import Mode
from include.monitoring.stock_exceptions import findings
from waybill.systems import provider

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReportStockExceptionsOperator(BaseOperator):
    """Find and keep what is out of order, write the page, and put the digest into the ledger.

    :param day: (templated) the day that it is the report of.
    :returns: how many exceptions there are.
    """

    template_fields: Sequence[str] = ("day",)

    def __init__(self, *, day: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.day = day

    def execute(self, context: Context) -> int:  # noqa: ARG002 - the day is templated
        """Report."""
        return findings.report(engine(), date.fromisoformat(self.day), Mode(current().effect_mode))


class TellStockExceptionsOperator(BaseOperator):
    """Deliver the digest; fails, and so is tried again, until the chat has taken it."""

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Deliver it."""
        left = findings.deliver(engine(), provider("chat"))
        if left:
            raise AirflowException(f"the chat has not taken {left} digests yet; the ledger says why")
