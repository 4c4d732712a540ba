"""Makes the Tryton provider from an Airflow connection of type `tryton`.

Host and Port are the server's, Schema is the database, Login and Password are those of a user of Waybill's own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from include.domain.purchasing import purchasing
from include.integrations.http import HttpSystem, SystemTrouble, Timeouts
from include.integrations.tryton import Settings, TrytonClient, TrytonErp
from include.integrations.tryton.check import missing
from include.stock.warehouse import warehouse
from waybill.hooks.http import ConnectionUnusable, ResilientHttpHook

PORT = 8000
_DATABASE = re.compile(r"[A-Za-z0-9_.-]+")


class TrytonHook(ResilientHttpHook):
    """A company in a Tryton database.

    Read from the extra, beside what every HTTP connection may say (`failover_url`, `rate_limit`, `timeout`,
    `verify`): `taxes` (rate -> name of the tax, where a rate has several), `units` (a request's unit -> Tryton's
    symbol), `blocked_category`, `mail_category`, and `server_timeout` (the server's own `[request] timeout`).
    """

    conn_name_attr = "tryton_conn_id"
    default_conn_name = "waybill_erp"
    conn_type = "tryton"
    hook_name = "Tryton"

    def system(self) -> HttpSystem:
        """Return how the server is called.

        :raises ConnectionUnusable: with what to correct in the connection.
        """
        connection = self.get_connection(self.http_conn_id)
        extra: dict[str, Any] = connection.extra_dejson
        try:
            if not connection.host:
                raise ValueError("fill in Host")
            host = connection.host if "://" in connection.host else f"http://{connection.host}"
            url = host if re.search(r":\d+$", host) else f"{host.rstrip('/')}:{connection.port or PORT}"
            timeout = extra.get("timeout")
            return HttpSystem(
                name=self.http_conn_id,
                base_urls=tuple(str(one) for one in (url, extra.get("failover_url")) if one),
                limits=self._limits(extra.get("rate_limit")),
                timeouts=Timeouts() if timeout in (None, "") else Timeouts(read=float(str(timeout))),
                verify=extra.get("verify", True) not in (False, "false", "False"),
            )
        except ValueError as error:
            raise ConnectionUnusable(f"connection {self.http_conn_id}: {error}") from None

    def settings(self) -> Settings:
        """Return what the connection's extra says of this Tryton.

        :raises ConnectionUnusable: with what to correct in the connection.
        """
        extra: dict[str, Any] = self.get_connection(self.http_conn_id).extra_dejson
        usual = Settings()
        try:
            return Settings(
                taxes=_mapping(extra, "taxes"),
                units=_mapping(extra, "units"),
                blocked=extra.get("blocked_category") or usual.blocked,
                by_mail=extra.get("mail_category") or usual.by_mail,
                under_way=float(extra["server_timeout"]) + 15 if extra.get("server_timeout") else usual.under_way,
            )
        except ValueError as error:
            raise ConnectionUnusable(f"connection {self.http_conn_id}: {error}") from None

    def get_tryton(self) -> TrytonClient:
        """Return a client; it belongs to this process, and must be closed."""
        connection = self.get_connection(self.http_conn_id)
        wanted = {"Schema": connection.schema, "Login": connection.login, "Password": connection.password}
        filled = {name: value for name, value in wanted.items() if value}
        if empty := wanted.keys() - filled.keys():
            raise ConnectionUnusable(f"connection {self.http_conn_id}: fill in {', '.join(sorted(empty))}")
        if not _DATABASE.fullmatch(filled["Schema"]):
            raise ConnectionUnusable(f"connection {self.http_conn_id}: Schema is the name of Tryton's database")
        return TrytonClient(
            self.get_client(),
            database=filled["Schema"],
            login=filled["Login"],
            password=SecretStr(filled["Password"]),
        )

    def get_provider(self) -> TrytonErp:
        """Return the provider; it belongs to this process."""
        settings = self.settings()
        return TrytonErp(self.get_tryton(), settings)

    def test_connection(self) -> tuple[bool, str]:
        """Log in, and look for the modules, rights, accounts and taxes that Waybill needs."""
        known = purchasing()
        accounts = sorted({category.account for category in known.categories.values()} | {known.suspense_account})
        try:
            with self.get_tryton() as client:
                today = datetime.now(UTC).date()
                places = {code: place.kind for code, place in warehouse().locations.items() if place.real}
                lacking = missing(
                    client, self.settings(), accounts=accounts, rates=known.taxes, today=today, locations=places
                )
        except (SystemTrouble, ConnectionUnusable) as error:
            return False, str(error)
        if lacking:
            return False, f"Tryton answers, but Waybill cannot work with it yet: {'; '.join(lacking)}"
        return True, "Tryton answers, and has what Waybill needs"


def _mapping(extra: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return a mapping of the extra, which the connection's form holds as JSON text."""
    written = extra.get(name) or {}
    try:
        found = json.loads(written) if isinstance(written, str) else written
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f'{name} must be an object such as {{"0.19": "..."}}')
    return {str(key): str(value) for key, value in found.items()}
