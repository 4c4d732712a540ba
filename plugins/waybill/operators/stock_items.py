"""The task by which a person enters items, or changes what is known of them, from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.data.database import authored, engine
from include.intake.files import ImportRefused, opened
from include.stock.master_data import import_items
from include.stock.warehouse import sync
from waybill.operators.forms import triggered_by
from waybill.operators.imports import file_or_rows

if TYPE_CHECKING:
    from airflow.sdk import Context


class ImportItemsOperator(BaseOperator):
    """Write the items of a file that are right, and name each row that is not; the same file again changes nothing.

    The parameters are `path`, `rows`.

    :returns: how many rows were read, how many items are new or changed, and how many rows were left out.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Write the items."""
        what = file_or_rows(context["params"])
        try:
            with (
                opened(what, None) as rows,
                authored(engine(), actor=triggered_by(context), run=str(context["run_id"])) as connection,
            ):
                sync(connection)
                result = import_items(connection, rows)
        except ImportRefused as error:
            raise AirflowFailException(str(error)) from None
        for line in result.told:
            self.log.warning("%s", line)
        if result.faulty:
            self.log.warning("%d of %d rows were left out: correct them and import again", result.faulty, result.rows)
        if result.faulty == result.rows:
            raise AirflowFailException("no row is an item: the log names what is wrong with each of them")
        self.log.info("%d rows read, %d items are new or changed", result.rows, result.changed)
        return {"rows": result.rows, "changed": result.changed, "faulty": result.faulty}
