"""Tryton as the `erp` role, over its JSON-RPC."""

from __future__ import annotations

from include.integrations.tryton.client import Refused, TrytonClient
from include.integrations.tryton.provider import TrytonErp
from include.integrations.tryton.records import Settings

__all__ = ["Refused", "Settings", "TrytonClient", "TrytonErp"]
