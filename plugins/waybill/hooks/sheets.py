"""Makes the provider of Google Sheets from an Airflow connection of type `google_sheets`.

In the extra: `keyfile_dict`, the JSON file of a service account's key; `spreadsheet`, the address of the spreadsheet
for all reports; `spreadsheets`, those of single reports: `{"leads": "https://docs.google.com/spreadsheets/d/…"}`.
"""

from __future__ import annotations

import json
from typing import Any

from include.data.database import engine
from include.integrations.google import ServiceAccount
from include.integrations.http import Auth, SystemTrouble
from include.reporting.catalogue import REPORTS
from include.reporting.sheets import BASE_URL, LIMIT, SCOPE, Sheets, link, spreadsheet_id
from waybill.hooks.http import ConnectionUnusable, ResilientHttpHook


class SheetsHook(ResilientHttpHook):
    """A service account of Google that may write to some spreadsheets."""

    conn_name_attr = "google_sheets_conn_id"
    default_conn_name = "waybill_sheets"
    conn_type = "google_sheets"
    hook_name = "Google Sheets"
    default_url = BASE_URL
    limits = (LIMIT,)

    def get_provider(self) -> Sheets:
        """Return the provider; it belongs to this process.

        :raises ConnectionUnusable: with what to correct in the connection.
        """
        spreadsheets, email = self.spreadsheets(), self._account().email
        return Sheets(engine(), self.get_client(), spreadsheets, email)

    def spreadsheets(self) -> dict[str, str]:
        """Return the id of the spreadsheet of each report that has one.

        :raises ConnectionUnusable: with what to correct in the connection.
        """
        extra = self.get_connection(self.http_conn_id).extra_dejson
        try:
            single = _object(extra.get("spreadsheets"))
            if unknown := sorted(single.keys() - REPORTS.keys()):
                raise ValueError(f"spreadsheets: {', '.join(unknown)} is no report; there are {', '.join(REPORTS)}")
            of_all = dict.fromkeys(REPORTS, extra["spreadsheet"]) if extra.get("spreadsheet") else {}
            return {report: spreadsheet_id(str(written)) for report, written in {**of_all, **single}.items()}
        except ValueError as error:
            raise ConnectionUnusable(f"connection {self.http_conn_id}: {error}") from None

    def test_connection(self) -> tuple[bool, str]:
        """Look at each spreadsheet: it shows that the key is good and that they are shared with it."""
        try:
            found = sorted(set(self.spreadsheets().values()))
            email = self._account().email
            with self.get_client() as client:
                for each in found:
                    client.get(f"/v4/spreadsheets/{each}", params={"fields": "spreadsheetId"})
        except SystemTrouble as error:
            return False, f"{error} - is {link(each)} shared with {email}, as an editor?"
        except ValueError as error:
            return False, str(error)
        return bool(
            found
        ), f"{email} sees {len(found)} spreadsheets" if found else "there is no spreadsheet in the extra"

    def _guess(self, connection: Any, extra: dict[str, Any]) -> str:  # noqa: ARG002
        return "service_account"

    def _auth(self, connection: Any, extra: dict[str, Any]) -> Auth | None:  # noqa: ARG002
        return ServiceAccount.read(extra.get("keyfile_dict")).oauth(SCOPE, self.http_conn_id)

    def _account(self) -> ServiceAccount:
        """Return the account of the connection's key.

        :raises ConnectionUnusable: when it is none.
        """
        try:
            return ServiceAccount.read(self.get_connection(self.http_conn_id).extra_dejson.get("keyfile_dict"))
        except ValueError as error:
            raise ConnectionUnusable(f"connection {self.http_conn_id}: {error}") from None


def _object(written: object) -> dict[str, Any]:
    found = json.loads(written) if isinstance(written, str) and written.strip() else written or {}
    if not isinstance(found, dict):
        raise ValueError('spreadsheets is not like {"leads": "https://docs.google.com/spreadsheets/d/…"}')
    return found
