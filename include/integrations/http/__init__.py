"""The resilient base of every client of an outside system that speaks HTTP."""

from __future__ import annotations

from include.integrations.http.circuits import CircuitPolicy
from include.integrations.http.client import (
    Answer,
    ApiKey,
    Auth,
    Basic,
    Bearer,
    HttpClient,
    HttpSystem,
    Retries,
    Timeouts,
)
from include.integrations.http.credentials import BY_ASSERTION, OAuth2
from include.integrations.http.errors import (
    NotAuthorised,
    Rejected,
    SystemTrouble,
    Unavailable,
    UnknownOutcome,
)
from include.integrations.http.limits import RateLimit
from include.integrations.http.secrets import Cipher, mask

__all__ = [
    "BY_ASSERTION",
    "Answer",
    "ApiKey",
    "Auth",
    "Basic",
    "Bearer",
    "Cipher",
    "CircuitPolicy",
    "HttpClient",
    "HttpSystem",
    "NotAuthorised",
    "OAuth2",
    "RateLimit",
    "Rejected",
    "Retries",
    "SystemTrouble",
    "Timeouts",
    "Unavailable",
    "UnknownOutcome",
    "mask",
]
