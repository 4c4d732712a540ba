"""HubSpot as a provider of the `crm` role."""

from __future__ import annotations

from include.integrations.hubspot.provider import HubSpotCrm, hubspot_system

__all__ = ["HubSpotCrm", "hubspot_system"]
