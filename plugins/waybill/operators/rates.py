"""The task that loads the central bank's reference rates."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowNotFoundException, AirflowSkipException

from include.data import rates
from include.data.database import engine
from include.integrations import reference_rates
from waybill.hooks.http import ResilientHttpHook

if TYPE_CHECKING:
    from airflow.sdk import Context

CONNECTION = "waybill_rates"


class LoadRatesOperator(BaseOperator):
    """Fetch the ECB's file by the connection `waybill_rates`, and keep the rates of an interval; again changes nothing.

    Without the connection it is skipped: a company that buys in one currency needs no rates.

    :param since: (templated) the first day.
    :param until: (templated) the last day.
    :returns: how many rates the file had for it, and how many were new or corrected.
    """

    template_fields: Sequence[str] = ("since", "until")

    def __init__(self, *, since: str, until: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.since = since
        self.until = until

    def execute(self, context: Context) -> dict[str, int]:  # noqa: ARG002 - the interval is templated
        """Fetch, and store in one transaction."""
        hook = ResilientHttpHook(CONNECTION)
        try:
            extra = hook.get_connection(CONNECTION).extra_dejson
        except AirflowNotFoundException:
            raise AirflowSkipException(
                f"there is no connection {CONNECTION}, so no rates are loaded. Make one of type HTTP with the host "
                "https://www.ecb.europa.eu if you buy in other currencies, or store rates yourself: docs/money.md"
            ) from None
        with hook.get_client() as client:
            published = reference_rates.fetch(
                client,
                date.fromisoformat(self.since),
                date.fromisoformat(self.until),
                recent=extra.get("path") or reference_rates.RECENT,
                history=extra.get("history_path") or reference_rates.HISTORY,
            )
        with engine().begin() as connection:
            changed = rates.store_rates(connection, published, rates.ECB)
        self.log.info("%d rates up to %s, %d of them new or corrected", len(published), self.until, changed)
        return {"rates": len(published), "changed": changed}
