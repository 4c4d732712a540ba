"""Makes the HubSpot provider from an Airflow connection of type `hubspot`.

With a private app, the access token is the password and nothing else is needed; with a public app, see OAuth 2 there.
"""

from __future__ import annotations

import sys

from include.integrations.http import SystemTrouble
from include.integrations.hubspot import HubSpotCrm
from include.integrations.hubspot.provider import BASE_URL, LIMIT
from waybill.hooks.http import ConnectionUnusable, ResilientHttpHook


class HubSpotHook(ResilientHttpHook):
    """A HubSpot account."""

    conn_name_attr = "hubspot_conn_id"
    default_conn_name = "waybill_crm"
    conn_type = "hubspot"
    hook_name = "HubSpot"
    default_url = BASE_URL
    default_token_url = f"{BASE_URL}/oauth/v1/token"
    limits = (LIMIT,)

    def get_provider(self) -> HubSpotCrm:
        """Return the provider; it belongs to this process."""
        return HubSpotCrm(self.get_client())

    def create_properties(self) -> dict[str, list[str]]:
        """Create the properties that Waybill needs and the account lacks; return them by kind of object."""
        with self.get_client() as client:
            return HubSpotCrm(client).create_properties()

    def test_connection(self) -> tuple[bool, str]:
        """Ask for the properties that Waybill needs: it shows that the token is good and what is still to be set up."""
        try:
            with self.get_client() as client:
                missing = HubSpotCrm(client).missing_properties()
        except (SystemTrouble, ConnectionUnusable) as error:
            return False, str(error)
        if missing:
            lacking = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in missing.items())
            how = f"python -m waybill.hooks.hubspot {self.http_conn_id}"
            return False, f"HubSpot answers, but lacks properties that Waybill needs ({lacking}): `{how}` creates them"
        return True, "HubSpot answers, and has the properties that Waybill needs"


if __name__ == "__main__":
    for kind, names in HubSpotHook(*sys.argv[1:2]).create_properties().items():
        print(f"{kind}: {', '.join(names)}")
