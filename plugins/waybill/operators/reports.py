"""The tasks that make reports and deliver them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from include.data.database import engine
from include.environment import current
from include.integrations.systems import Mode
from include.reporting import editions, going_out
from include.reporting.catalogue import REPORTS
from include.reporting.intervals import Period, last_whole
from include.stock.warehouse import warehouse
from waybill.reports import webhook_connected
from waybill.systems import closing_provider

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReportRefused(AirflowException):
    """A report failed its checks: it is not published, and the last good one stays."""


class MakeReportOperator(BaseOperator):
    """Make a report of the last whole day, week or month before a moment, check it, keep it, and plan who gets it.

    Doing it again is safe: the same figures are one edition, and go out once.

    The run's parameter `reports` names those that are asked for; the others are skipped.

    :param before: (templated) the moment.
    :returns: the edition's id.
    :raises ReportRefused: when a check fails; it names the reasons.
    """

    template_fields: Sequence[str] = ("before",)

    def __init__(self, *, report: str, period: Period, before: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.report = report
        self.period = period
        self.before = before

    def execute(self, context: Context) -> int:
        """Make it."""
        chosen: Collection[str] = context["params"].get("reports") or REPORTS
        if self.report not in chosen:
            raise AirflowSkipException(f"{self.report} was not asked for")
        interval = last_whole(self.period, datetime.fromisoformat(self.before), warehouse().zone)
        webhook = webhook_connected()
        edition = editions.make(
            engine(),
            REPORTS[self.report],
            interval,
            lambda found, of: going_out.plan(found, of, webhook=webhook),
            Mode(current().effect_mode),
            run=str(context["run_id"]),
        )
        if edition.reasons:
            told = "; ".join(reason["message"] for reason in edition.reasons)
            raise ReportRefused(f"{REPORTS[self.report].title}, {interval}, is not published ({edition.id}): {told}")
        return edition.id


class DeliverReportsOperator(BaseOperator):
    """Deliver what is due of one step to its system; fails, and so is tried again, until it has taken all."""

    def __init__(self, *, step: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Deliver it."""
        if self.step == going_out.WEBHOOK and not webhook_connected():
            raise AirflowSkipException("no webhook is connected")
        system = going_out.SYSTEMS[self.step]
        with closing_provider(system) as provider:
            left = going_out.deliver(engine(), provider, self.step)
        if left:
            raise AirflowException(f"{system} has not taken {left} reports yet; the ledger says why")
