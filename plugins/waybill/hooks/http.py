"""Makes the resilient client of an outside system from an Airflow connection.

The connection's form is Airflow's own for HTTP; what a resilient client needs beside it stands in the extra.
"""

from __future__ import annotations

import re
from typing import Any

from airflow.providers.http.hooks.http import HttpHook
from pydantic import SecretStr

from include.data.database import engine
from include.integrations.http import (
    ApiKey,
    Auth,
    Basic,
    Bearer,
    HttpClient,
    HttpSystem,
    OAuth2,
    RateLimit,
    SystemTrouble,
    Timeouts,
)

_RATE = re.compile(r"\s*(\d+)\s*/\s*(\d+(?:\.\d+)?)\s*s?\s*")


class ConnectionUnusable(ValueError):
    """A connection lacks something, or says something that cannot be understood."""


class ResilientHttpHook(HttpHook):
    """An HTTP connection whose client shares limits, circuits and tokens with every other process.

    Read from the extra: `failover_url`; `rate_limit` (`100/10s`); `timeout` (seconds for an answer); `auth` (`bearer`,
    `basic`, `api_key`, `oauth2` or `none`; guessed from what is filled in); `api_key_header`; for OAuth 2 `token_url`,
    `grant`, `refresh_token` and `scope`, with the client's id and secret as login and password.
    """

    hook_name = "HTTP, resilient"
    default_url = ""
    default_token_url = ""
    limits: tuple[RateLimit, ...] = ()
    probe_path = "/"

    def __init__(self, connection_id: str | None = None) -> None:
        super().__init__(method="GET", http_conn_id=connection_id or self.default_conn_name)

    def system(self) -> HttpSystem:
        """Return how the connection's system is called.

        :raises ConnectionUnusable: with what to correct in the connection.
        """
        connection = self.get_connection(self.http_conn_id)
        extra: dict[str, Any] = connection.extra_dejson
        if connection.host:
            self._set_base_url(connection)
        urls = [self.base_url or self.default_url, extra.get("failover_url")]
        timeout = extra.get("timeout")
        try:
            return HttpSystem(
                name=self.http_conn_id,
                base_urls=tuple(str(url) for url in urls if url),
                auth=self._auth(connection, extra),
                limits=self._limits(extra.get("rate_limit")),
                timeouts=Timeouts() if timeout in (None, "") else Timeouts(read=float(str(timeout))),
                verify=extra.get("verify", True) not in (False, "false", "False"),
            )
        except ValueError as error:
            raise ConnectionUnusable(f"connection {self.http_conn_id}: {error}") from None

    def get_client(self) -> HttpClient:
        """Return the client; it belongs to this process, and must be closed."""
        return HttpClient(self.system(), engine())

    def test_connection(self) -> tuple[bool, str]:
        """Make one harmless call."""
        try:
            with self.get_client() as client:
                answer = client.get(self.probe_path)
        except (SystemTrouble, ConnectionUnusable) as error:
            return False, str(error)
        return True, f"{self.http_conn_id} answered {answer.status}"

    def _limits(self, written: object) -> tuple[RateLimit, ...]:
        if written in (None, ""):
            return self.limits
        match = _RATE.fullmatch(str(written))
        if match is None:
            raise ValueError(f"rate_limit {written!r} is not like 100/10s")
        return (RateLimit(int(match[1]), float(match[2])),)

    def _auth(self, connection: Any, extra: dict[str, Any]) -> Auth | None:
        secret = SecretStr(connection.password) if connection.password else None
        kind = extra.get("auth") or self._guess(connection, extra)
        if kind == "none":
            return None
        if secret is None:
            raise ValueError(f"{kind} authentication needs a secret in the field Password")
        match kind:
            case "bearer":
                return Bearer(secret)
            case "basic":
                return Basic(connection.login or "", secret)
            case "api_key":
                return ApiKey(extra.get("api_key_header") or "x-api-key", secret)
            case "oauth2":
                return self._oauth(connection, extra, secret)
            case _:
                raise ValueError(f"auth {kind!r} is none of bearer, basic, api_key, oauth2, none")

    def _guess(self, connection: Any, extra: dict[str, Any]) -> str:
        if extra.get("refresh_token") or extra.get("token_url"):
            return "oauth2"
        if not connection.password:
            return "none"
        return "basic" if connection.login else "bearer"

    def _oauth(self, connection: Any, extra: dict[str, Any], secret: SecretStr) -> OAuth2:
        first = extra.get("refresh_token")
        token_url = extra.get("token_url") or self.default_token_url
        if not connection.login or not token_url:
            raise ValueError("OAuth 2 needs the client's id in the field Login, and token_url in the extra")
        return OAuth2(
            token_url=token_url,
            client_id=connection.login,
            client_secret=secret,
            credential=self.http_conn_id,
            grant=extra.get("grant") or ("refresh_token" if first else "client_credentials"),
            refresh_token=SecretStr(first) if first else None,
            scope=extra.get("scope") or None,
        )
