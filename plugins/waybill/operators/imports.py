"""The task by which a person imports a file of rows, or rows pasted into the form."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from include.data.database import engine
from include.intake.files import ImportRefused
from include.intake.imports import ImportResult, import_rows
from waybill.operators.forms import triggered_by

if TYPE_CHECKING:
    from airflow.sdk import Context


def file_or_rows(params: Mapping[str, Any]) -> Path | str:
    """Return the path, or the rows as text, that a person put into a form with `file_params`."""
    if bool(params["path"]) == bool(params["rows"]):
        raise AirflowFailException("give either a path or pasted rows")
    return Path(params["path"]) if params["path"] else f"{params['rows'].rstrip()}\n"


class ImportRowsOperator(BaseOperator):
    """Store each row as a delivery of the chosen source, once however often the same file is imported.

    The parameters are `source`, `path`, `rows`; a path is read on the machine of the worker.

    :returns: how many rows were read, new, repeated, in conflict and unreadable.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Import the rows."""
        wanted = context["params"]
        what = file_or_rows(wanted)
        try:
            result = import_rows(engine(), wanted["source"], what, triggered_by(context), progress=self._tell)
        except ImportRefused as error:
            raise AirflowFailException(str(error)) from None
        for line in result.told:
            self.log.warning("%s", line)
        return {name: count for name, count in asdict(result).items() if name != "told"}

    def _tell(self, result: ImportResult) -> None:
        self.log.info("%d rows read, %d new, %d repeated", result.rows, result.new, result.repeated)
