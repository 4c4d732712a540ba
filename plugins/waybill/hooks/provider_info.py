"""Tells Airflow of Waybill's own connection types: their hooks, and the fields of their forms.

Found through the entry point in `plugins/waybill_connections-1.dist-info`, which works like an installed package's
for every process that has `plugins` on its PYTHONPATH from the start.
"""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return what Airflow's providers manager reads."""
    return {
        "package-name": "waybill-connections",
        "name": "Waybill",
        "description": "Connections of Waybill's outside systems",
        "connection-types": [
            {
                "connection-type": "hubspot",
                "hook-class-name": "waybill.hooks.hubspot.HubSpotHook",
                "hook-name": "HubSpot",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port"],
                    "relabeling": {
                        "password": "Access token, or client secret",
                        "login": "Client id (OAuth 2 only)",
                        "host": "Address",
                    },
                    "placeholders": {"host": "https://api.hubapi.com", "password": "pat-eu1-…"},
                },
                "conn-fields": {
                    "refresh_token": _field("Refresh token", "OAuth 2 only: the one the account gave", secret=True),
                    "token_url": _field("Token address", "OAuth 2 only; HubSpot's own when empty"),
                    "failover_url": _field("Second address", "Used while the first is down"),
                    "rate_limit": _field("Rate limit", "Calls per seconds, such as 90/10s, for all processes together"),
                    "timeout": _field("Time-out", "Seconds that an answer may take"),
                },
            },
            {
                "connection-type": "google_sheets",
                "hook-class-name": "waybill.hooks.sheets.SheetsHook",
                "hook-name": "Google Sheets",
                "ui-field-behaviour": {
                    "hidden-fields": ["host", "schema", "port", "login", "password"],
                    "relabeling": {},
                    "placeholders": {},
                },
                "conn-fields": {
                    "keyfile_dict": _field("Key", "The JSON file of a service account's key", secret=True),
                    "spreadsheet": _field("Spreadsheet", "Its address; shared with the service account as an editor"),
                    "spreadsheets": _field(
                        "Spreadsheets of single reports", 'Where one has its own: {"leads": "https://…"}'
                    ),
                    "rate_limit": _field("Rate limit", "Calls per seconds, such as 60/60s, for all processes together"),
                    "timeout": _field("Time-out", "Seconds that an answer may take"),
                },
            },
            {
                "connection-type": "tryton",
                "hook-class-name": "waybill.hooks.tryton.TrytonHook",
                "hook-name": "Tryton",
                "ui-field-behaviour": {
                    "hidden-fields": [],
                    "relabeling": {"schema": "Database", "host": "Server"},
                    "placeholders": {"host": "https://erp.example.com", "port": "8000", "login": "waybill"},
                },
                "conn-fields": {
                    "taxes": _field("Taxes", 'Where a rate has several: {"0.19": "name of the tax"}'),
                    "units": _field("Units", 'A request\'s unit and Tryton\'s symbol: {"box": "u"}'),
                    "blocked_category": _field("Blocked suppliers", "Their party category; Blocked when empty"),
                    "mail_category": _field("Orders by mail", "Category of who wants them; Orders by mail when empty"),
                    "server_timeout": _field("Server's time-out", "[request] timeout of trytond.conf; 60 when empty"),
                    "failover_url": _field("Second address", "Used while the first is down"),
                    "rate_limit": _field("Rate limit", "Calls per seconds, such as 90/10s, for all processes together"),
                    "timeout": _field("Time-out", "Seconds that an answer may take"),
                },
            },
        ],
    }


def _field(label: str, description: str, *, secret: bool = False) -> dict[str, Any]:
    schema = {"type": ["string", "null"], **({"format": "password"} if secret else {})}
    return {"label": label, "description": description, "schema": schema}
