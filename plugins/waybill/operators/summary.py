"""The tasks that tell owners of cost centres every week how their budgets and requests stand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException

from include.data.database import engine
from include.domain.purchase_approval import summary
from include.environment import current
from include.integrations.systems import Mode
from waybill.systems import provider

if TYPE_CHECKING:
    from airflow.sdk import Context


class WriteSummariesOperator(BaseOperator):
    """Put the summaries of an interval into the ledger; the same interval again adds none.

    :param since: (templated) the interval's first instant.
    :param until: (templated) its end.
    :returns: how many messages are new.
    """

    template_fields: Sequence[str] = ("since", "until")

    def __init__(self, *, since: str, until: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.since = since
        self.until = until

    def execute(self, context: Context) -> int:  # noqa: ARG002 - the interval is templated
        """Write them."""
        since, until = datetime.fromisoformat(self.since), datetime.fromisoformat(self.until)
        return summary.write_summaries(engine(), since, until, Mode(current().effect_mode))


class DeliverSummariesOperator(BaseOperator):
    """Deliver the summaries that are due to one system; fails, and so is tried again, until it has taken all."""

    def __init__(self, *, system: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.system = system

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Deliver them."""
        left = summary.deliver_summaries(engine(), provider(self.system), self.system)
        if left:
            raise AirflowException(f"{self.system} has not taken {left} summaries yet; the ledger says why")
