"""The tasks around count sheets: planning them, taking in what was counted, closing one, and the items' classes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from include.approvals.forms import FormRefused
from include.data.database import authored, engine
from include.domain.stock_count import entry, plan
from include.domain.stock_count.classes import classify_until
from include.domain.stock_count.discard import DiscardRefused, discard
from include.intake.files import ImportRefused
from include.stock.warehouse import warehouse
from waybill.operators.forms import account_of, ensure_stored, triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context


class PlanCountsOperator(BaseOperator):
    """Hand over the count sheets of a day; a location that was planned for it before is left as it is.

    :param until: (templated) a moment of the day, which is that of the company's place.
    :returns: location -> how many sheets are new.
    """

    template_fields: Sequence[str] = ("until",)

    def __init__(self, *, until: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.until = until

    def execute(self, context: Context) -> dict[str, int]:
        """Plan the day."""
        day = datetime.fromisoformat(self.until).astimezone(warehouse().zone).date()
        planned = plan.plan_day(engine(), day, run=context["run_id"])
        if not planned:
            self.log.info("%s was planned before, or nobody works on it", day)
        for location, found in planned.items():
            self.log.info("%s: %d sheets", location, found.sheets)
            if found.left_over:
                self.log.warning(
                    "%s: %d places more are due than a day takes; raise sheets_per_day in counting.yaml if this lasts",
                    location, found.left_over,
                )  # fmt: skip
        return {location: found.sheets for location, found in planned.items()}


class ClassifyItemsOperator(BaseOperator):
    """Classify the items by the consumption of the months before an instant.

    :param until: (templated) the end of these months.
    :returns: how many items changed their class.
    """

    template_fields: Sequence[str] = ("until",)

    def __init__(self, *, until: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.until = until

    def execute(self, context: Context) -> int:
        """Classify them."""
        with authored(engine(), actor="system:stock_classes", run=context["run_id"]) as connection:
            changed = classify_until(connection, datetime.fromisoformat(self.until))
        if changed is None:
            raise AirflowSkipException("the items are classified by a later month already; this one changes nothing")
        self.log.info("%d items changed their class", changed)
        return changed


class EnterCountOperator(BaseOperator):
    """Store what was counted as one delivery, in the name of whoever counted; trying again adds nothing.

    :returns: whether it is new, how many lines it has, and how many of the sheet are still open.
    """

    def execute(self, context: Context) -> dict[str, int]:
        """Store the count."""
        try:
            made, result = entry.submit(
                engine(),
                dict(context["params"]),
                account=account_of(context),
                form_id=context["run_id"],
                actor=triggered_by(context),
            )
        except (FormRefused, ImportRefused) as error:
            raise AirflowFailException(str(error)) from None
        ensure_stored(result)
        for place in made.found:
            self.log.warning("%s is not on the sheet; it is counted all the same", place)
        for place in made.missing:
            self.log.info("still to be counted: %s", place)
        return {"new": result.new, "lines": len(made.document["lines"]), "open": len(made.missing)}


class DiscardSheetOperator(BaseOperator):
    """Close a sheet that is not needed any more; the parameters are `sheet` and `reason`.

    :returns: the sheet's case.
    """

    def execute(self, context: Context) -> int:
        """Discard it."""
        wanted = context["params"]
        try:
            return discard(
                engine(),
                wanted["sheet"],
                reason=wanted["reason"],
                account=account_of(context),
                actor=triggered_by(context),
                run=context["run_id"],
            )
        except DiscardRefused as error:
            raise AirflowFailException(str(error)) from None
