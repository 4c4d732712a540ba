"""The tasks that make reports and deliver them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from include.data.database import engine
from include.environment import current
from include.integrations.systems import Mode
from include.monitoring.alerts.raising import Explained
from include.reporting import editions, going_out
from include.reporting.catalogue import REPORTS
from include.reporting.intervals import Period, begun, last_whole
from include.stock.warehouse import warehouse
from waybill.reports import connected, connected_steps
from waybill.systems import closing_provider

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReportRefused(AirflowFailException, Explained):
    """A report failed its checks: it is not published, and the last good one stays.

    It is not tried again by itself: the same figures are refused again.
    """


class MakeReportOperator(BaseOperator):
    """Make a report of the last whole day, week or month before a moment, check it, keep it, and plan who gets it.

    Doing it again is safe: the same figures are one edition, and go out once.

    The run's parameter `reports` names those that are asked for; the others are skipped. With `preview` it is about the
    day, week or month that the moment is in, so far.

    :param moment: (templated) the moment.
    :returns: the edition's id.
    :raises ReportRefused: when a check fails; it names the reasons.
    """

    template_fields: Sequence[str] = ("moment",)

    def __init__(self, *, report: str, period: Period, moment: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.report = report
        self.period = period
        self.moment = moment

    def execute(self, context: Context) -> int:
        """Make it."""
        chosen: Collection[str] = context["params"].get("reports") or REPORTS
        if self.report not in chosen:
            raise AirflowSkipException(f"{self.report} was not asked for")
        of = begun if context["params"].get("preview") else last_whole
        interval = of(self.period, datetime.fromisoformat(self.moment), warehouse().zone)
        ways = connected_steps(self.report)
        edition = editions.make(
            engine(),
            REPORTS[self.report],
            interval,
            lambda found, of: going_out.plan(found, of, ways),
            Mode(current().effect_mode),
            run=str(context["run_id"]),
        )
        if edition.reasons:
            title, reasons = REPORTS[self.report].title, [reason["message"] for reason in edition.reasons]
            raise ReportRefused(
                f"{title}, {interval}, is not published ({edition.id}): {'; '.join(reasons)}",
                reasons=[f"{title}, {interval}, is not published.", *reasons],
                touches=f"The readers of {title}, {interval}. They keep the last one that was good.",
            )
        return edition.id


class DeliverReportsOperator(BaseOperator):
    """Deliver what is due of one step to its system; fails, and so is tried again, until it has taken all."""

    def __init__(self, *, step: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step

    def execute(self, context: Context) -> None:  # noqa: ARG002
        """Deliver it."""
        system = going_out.SYSTEMS[self.step]
        if self.step in going_out.IF_CONNECTED and not connected(system):
            raise AirflowSkipException(f"no {system} is connected")
        with closing_provider(system) as provider:
            left = going_out.deliver(engine(), provider, self.step)
        if left:
            raise AirflowException(f"{system} has not taken {left} reports yet; the ledger says why")
