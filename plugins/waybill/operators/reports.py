"""The tasks that make reports and deliver them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from include.data.database import engine
from include.environment import current
from include.integrations.systems import Effect, Mode
from include.monitoring.alerts.raising import Explained
from include.reporting import editions, going_out
from include.reporting.catalogue import REPORTS
from include.reporting.editions import Edition
from include.reporting.intervals import Interval, Period, begun, last_whole
from include.stock.warehouse import warehouse
from waybill.reports import connected, connected_steps
from waybill.systems import closing_provider

if TYPE_CHECKING:
    from airflow.sdk import Context


class ReportRefused(AirflowFailException, Explained):
    """A report failed its checks: it is not published, and the last good one stays.

    It is not tried again by itself: the same figures are refused again. The runs after it look at it again.
    """


class ReportWaits(AirflowException, Explained):
    """A report is not published yet: what it waits for passes by itself, so it is tried again."""


class MakeReportOperator(BaseOperator):
    """Make a report of the last whole day, week or month before a moment, check it, keep it, and plan who gets it.

    With it are made the intervals before it that nobody made, and those of which facts came late; not in a backfill.
    Doing it again is safe: the same figures are one edition, and go out once.

    The run's parameter `reports` names those that are asked for; the others are skipped. With `preview` it is about the
    day, week or month that the moment is in, so far.

    :param moment: (templated) the moment.
    :returns: the edition's id.
    :raises ReportRefused: when a check fails; it names the reasons.
    :raises ReportWaits: when something is not ready that will be.
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
        preview = bool(context["params"].get("preview"))
        of = begun if preview else last_whole
        interval = of(self.period, datetime.fromisoformat(self.moment), warehouse().zone)
        ways, report, mode = connected_steps(self.report), REPORTS[self.report], Mode(current().effect_mode)
        run = str(context["run_id"])

        def planner(found: Edition, of: Interval) -> list[Effect]:
            return going_out.plan(found, of, ways)

        # A backfill makes what somebody chose.
        alone = preview or context["dag_run"].run_type == "backfill"
        earlier = [] if alone else editions.make_earlier(engine(), report, interval, planner, mode, run=run)
        edition = editions.make(engine(), report, interval, planner, mode, run=run)
        if refused := [each for each in (*earlier, edition) if not each.published]:
            raise _not_published(refused, report.title, interval.zone)
        return edition.id


def _not_published(refused: Sequence[Edition], title: str, zone: ZoneInfo) -> ReportRefused | ReportWaits:
    error = ReportWaits if any(each.waits for each in refused) else ReportRefused
    names, said, reasons = [], [], []
    for each in refused:
        name, why = f"{title}, {each.interval(zone)}", [reason["message"] for reason in each.reasons or []]
        names.append(name)
        said.append(f"{name}, is not published ({each.id}): {'; '.join(why)}")
        reasons += [f"{name}, is not published.", *why]
    touches = f"The readers of {'; '.join(names)}. They keep the last one that was good."
    return error("; ".join(said), reasons=reasons, touches=touches)


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
