"""Turns Airflow connections into the clients and providers of `include/integrations`.

The hooks are imported late: the provider packages under them take a second.
"""

from __future__ import annotations

from collections.abc import Callable

from include.integrations.systems import Provider


def hubspot_crm(connection_id: str) -> Provider:
    """Return HubSpot as the `crm` role, from a connection of type `hubspot`."""
    from waybill.hooks.hubspot import HubSpotHook  # noqa: PLC0415

    return HubSpotHook(connection_id).get_provider()


def google_sheets(connection_id: str) -> Provider:
    """Return spreadsheets of Google as the `sheets` role, from a connection of type `google_sheets`."""
    from waybill.hooks.sheets import SheetsHook  # noqa: PLC0415

    return SheetsHook(connection_id).get_provider()


def smtp_mail(connection_id: str) -> Provider:
    """Return a mail server as the `mail` role, from a connection of type `smtp`."""
    from waybill.hooks.smtp import MailHook  # noqa: PLC0415

    return MailHook(connection_id).get_provider()


def tryton_erp(connection_id: str) -> Provider:
    """Return Tryton as the `erp` role, from a connection of type `tryton`."""
    from waybill.hooks.tryton import TrytonHook  # noqa: PLC0415

    return TrytonHook(connection_id).get_provider()


CONNECTED: dict[str, dict[str, Callable[[str], Provider]]] = {
    "crm": {"hubspot": hubspot_crm},
    "erp": {"tryton": tryton_erp},
    "mail": {"smtp": smtp_mail},
    "sheets": {"google_sheets": google_sheets},
}
"""Role -> connection type -> what makes a provider of a connection's id."""
