"""The task by which a person closes a month of the stock."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.data.database import authored, engine
from include.stock.periods import NotClosable, close
from include.stock.valuation import value
from waybill.operators.forms import triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context


class ClosePeriodOperator(BaseOperator):
    """Value everything, then close a month; the parameters are `month` (2026-10) and `dry_run`.

    :returns: the month, how many items it has, what they are worth at its end, and whether it is closed now.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Close it, or only say what closing it would keep."""
        wanted, actor = context["params"], triggered_by(context)
        month = _first_day(wanted["month"])
        with authored(engine(), actor=actor, run=context["run_id"]) as connection:
            tally = value(connection)
        self.log.info("%d movements were valued, %d valued anew", tally.valued, tally.revalued)
        try:
            with authored(engine(), actor=actor, run=context["run_id"]) as connection:
                closed = close(connection, month, actor)
                if wanted["dry_run"]:
                    connection.rollback()
        except NotClosable as error:
            raise AirflowFailException(str(error)) from None
        verdict = "would be closed" if wanted["dry_run"] else "is closed"
        self.log.info("%s %s: %d items, worth %.2f at its end", wanted["month"], verdict, closed.items, closed.value)
        return {
            "month": f"{closed.month:%Y-%m}",
            "items": closed.items,
            "value": f"{closed.value:.2f}",
            "closed": not wanted["dry_run"],
        }


def _first_day(month: str | None) -> date:
    try:
        return date.fromisoformat(f"{month}-01")
    except ValueError:
        raise AirflowFailException(f"{month!r} is no month; write the year and the month, such as 2026-10") from None
