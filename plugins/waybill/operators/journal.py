"""The task that writes the journal of some days to a file for accounting."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.data.database import engine
from include.domain.supplier_invoice.export import DayNotOver, export_journal
from include.stock.warehouse import warehouse

if TYPE_CHECKING:
    from airflow.sdk import Context


class ExportJournalOperator(BaseOperator):
    """Write what was booked in an interval of days; the same interval again writes the same file.

    :param since: (templated) a moment of the first day, by the company's clock.
    :param until: (templated) a moment of the day after the last one.
    :returns: the file's name, and how many lines it has.
    """

    template_fields: Sequence[str] = ("since", "until")

    def __init__(self, *, since: str, until: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.since = since
        self.until = until

    def execute(self, context: Context) -> dict[str, Any]:  # noqa: ARG002 - the interval is templated
        """Write the file."""
        try:
            written = export_journal(engine(), _day(self.since), _day(self.until))
        except DayNotOver as error:
            raise AirflowFailException(str(error)) from None
        self.log.info("%d lines in %s", written.lines, written.path)
        return {"file": written.path.name, "lines": written.lines}


def _day(moment: str) -> date:
    return warehouse().day_of(datetime.fromisoformat(moment))
