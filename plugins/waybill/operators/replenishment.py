"""The tasks that plan replenishment, and enter its rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.data.database import authored, engine
from include.domain.replenishment.plan import plan
from include.domain.replenishment.rules import import_rules
from include.intake.files import ImportRefused
from waybill.operators.forms import triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context


class PlanReplenishmentOperator(BaseOperator):
    """Open a need for each place that runs short and has none; the same day again opens none.

    :param until: (templated) the end of the day that is planned.
    :returns: how many places were looked at, run short, and have a new need.
    """

    template_fields: Sequence[str] = ("until",)

    def __init__(self, *, until: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.until = until

    def execute(self, context: Context) -> dict[str, int]:
        """Plan the day."""
        planned = plan(engine(), datetime.fromisoformat(self.until), run=context["run_id"])
        self.log.info("%s", planned)
        return asdict(planned)


class ImportRulesOperator(BaseOperator):
    """Enter rules from a file or from pasted rows; the parameters are `path`, `rows` and `only_look`.

    :returns: how many rows were read, faulty, and new or changed.
    """

    def execute(self, context: Context) -> dict[str, int]:
        """Enter them."""
        wanted = context["params"]
        if bool(wanted["path"]) == bool(wanted["rows"]):
            raise AirflowFailException("give either a path or pasted rows")
        try:
            what: Path | str = Path(wanted["path"]) if wanted["path"] else f"{wanted['rows'].rstrip()}\n"
            with authored(engine(), actor=triggered_by(context), run=context["run_id"]) as connection:
                result = import_rules(connection, what, only_look=wanted["only_look"])
        except ImportRefused as error:
            raise AirflowFailException(str(error)) from None
        for line in result.told:
            self.log.warning("%s", line)
        if result.rows and result.faulty == result.rows:
            raise AirflowFailException("no row can be used; the log above says what is wrong with each")
        counts = {"rows": result.rows, "changed": result.changed, "faulty": result.faulty}
        self.log.info("%s%s", counts, "; only looked, nothing was entered" if wanted["only_look"] else "")
        return counts
