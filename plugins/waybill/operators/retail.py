"""The task that says what became of the rows of an imported file, and writes down those that were not posted."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.data.database import engine
from include.data.exports import export_folder
from include.domain.stock_request.outcomes import write_outcomes
from include.intake.files import ImportRefused
from include.intake.imports import keys_of
from waybill.operators.imports import file_or_rows

if TYPE_CHECKING:
    from airflow.sdk import Context


class TellOutcomesOperator(BaseOperator):
    """Write a CSV of the rows of a file that were not posted, each with its reason; those under way are not waited for.

    The parameters are `source`, `path`, `rows`. The same file again writes the same CSV anew.

    :returns: the CSV's name, and how many rows there are by what became of them.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the file."""
        wanted = context["params"]
        what = file_or_rows(wanted)
        try:
            keys = keys_of(wanted["source"], what)
        except ImportRefused as error:
            raise AirflowFailException(str(error)) from None
        of_file = hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()[:12]
        target = export_folder() / f"{wanted['source']}_{of_file}.csv"
        with engine().connect() as connection:
            outcomes = write_outcomes(connection, wanted["source"], keys, target)
        for verdict, count in outcomes.verdicts.most_common():
            self.log.info("%d lines: %s", count, verdict)
        for (verdict, reason), count in outcomes.reasons.most_common():
            self.log.info("  %d %s: %s", count, verdict, reason)
        self.log.info("each line that was not posted is in %s, by its line in the file", target)
        if outcomes.under_way:
            self.log.info(
                "%d are still under way (the board shows the cases of stock_request): trigger this again with the same"
                " file later; it adds nothing, and writes the list anew",
                outcomes.under_way,
            )
        return {"file": target.name, **outcomes.verdicts}
