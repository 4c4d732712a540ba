"""Where reports go that Airflow knows the way to: an object store, a database, and an address outside that is told.

The folder of reports may be any address that Airflow's ObjectStoragePath understands, such as `s3://connection@bucket/x`.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.sdk import Connection, ObjectStoragePath
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException
from pydantic import SecretStr
from sqlalchemy import Engine, NullPool

from include.data.database import engine
from include.integrations.http import HttpClient
from include.integrations.systems import Provider
from include.integrations.webhook import SecretUnusable, SignedWebhook
from include.reporting.files import Folder, ReportFiles, Store, reports_folder
from include.reporting.going_out import IF_CONNECTED, SHEETS, SYSTEMS
from waybill.hooks.http import ConnectionUnusable, ResilientHttpHook

CONNECT_TIMEOUT = 10
"""Seconds, where a connection to PostgreSQL names none."""


class ObjectStore:
    """A folder of an object store."""

    def __init__(self, address: str) -> None:
        self._root = ObjectStoragePath(address)

    @property
    def name(self) -> str:
        """Its address."""
        return str(self._root)

    def read(self, path: str) -> bytes | None:
        """Return a file; None where there is none.

        :raises OSError: when it cannot be read.
        """
        target = self._root / path
        with _its_errors():
            try:
                content: bytes = target.fs.cat_file(target.path)
            except FileNotFoundError:
                return None
            return content

    def write(self, path: str, content: bytes) -> None:
        """Write or replace a file, in one request where the store has one for it.

        :raises OSError: when it cannot be written.
        """
        target = self._root / path
        with _its_errors():
            target.fs.pipe_file(target.path, content)

    def remove(self, path: str) -> None:
        """Remove a folder with all that is in it.

        :raises OSError: when it cannot be removed.
        """
        target = self._root / path
        with _its_errors(), suppress(FileNotFoundError):
            target.fs.invalidate_cache()  # it may remember what was there once
            target.fs.rm(target.path, recursive=True)


@contextmanager
def _its_errors() -> Iterator[None]:
    """Each store has errors of its own; here they are all one kind."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__} of the object store") from error


def report_files(target: Engine) -> ReportFiles:
    """Return the provider of the role `reporting`: a folder, or an object store."""
    folder = reports_folder().removeprefix("file://")
    store: Store = ObjectStore(folder) if "://" in folder else Folder(Path(folder))
    return ReportFiles(target, store)


class WebhookHook(ResilientHttpHook):
    """An address that is told what happens; the password signs, and is never sent."""

    def _guess(self, connection: object, extra: object) -> str:  # noqa: ARG002
        return "none"

    def get_provider(self) -> SignedWebhook:
        """Return the provider; it belongs to this process.

        :raises ConnectionUnusable: with what to correct in the connection.
        """
        secret = self.get_connection(self.http_conn_id).password or ""
        system = self.system()
        parts = urlsplit(system.base_urls[0])
        query = SecretStr(parts.query) if parts.query else None
        client = HttpClient(replace(system, base_urls=(f"{parts.scheme}://{parts.netloc}",), query=query), engine())
        try:
            return SignedWebhook(client, parts.path or "/", SecretStr(secret))
        except SecretUnusable as error:
            raise ConnectionUnusable(f"connection {self.http_conn_id}: {error}; it stands in Password") from None


def signed_webhook(connection_id: str) -> SignedWebhook:
    """Return the provider of the role `webhook`, from a connection of type `http`.

    Host is the address, with the query that it may have, Password the secret (`whsec_…`).
    """
    return WebhookHook(connection_id).get_provider()


def warehouse(connection_id: str) -> Provider:
    """Return the provider of the role `warehouse`, from a connection to any database that SQLAlchemy can write to.

    :raises ConnectionUnusable: when it is to something else, or its provider package is not installed.
    """
    from airflow.providers.common.sql.hooks.sql import DbApiHook  # noqa: PLC0415 - few tasks need these

    from include.reporting.warehouse import Warehouse, warehouse_schema  # noqa: PLC0415

    connection = Connection.get(connection_id)
    try:
        hook = connection.get_hook()
    except (AirflowException, ImportError):
        hook = None
    if not isinstance(hook, DbApiHook):
        raise ConnectionUnusable(
            f"connection {connection_id}: {connection.conn_type!r} is no database that Airflow knows here; "
            "take the type postgres, or install the provider package of the database"
        )
    how: dict[str, Any] = {"poolclass": NullPool}
    if connection.conn_type == "postgres":
        # Its engine knows nothing of the extra (sslmode, for one); its way of connecting does.
        extra = {"connect_timeout": CONNECT_TIMEOUT, **connection.extra_dejson}
        hook.connection.extra = json.dumps(extra)
        how["creator"] = hook.get_conn
    return Warehouse(engine(), hook.get_sqlalchemy_engine(how), warehouse_schema())


def connected(system: str) -> bool:
    """Say whether somebody made the connection of a system."""
    try:
        Connection.get(f"waybill_{system}")
    except AirflowNotFoundException:
        return False
    return True


def connected_steps(report: str) -> list[str]:
    """Return those of the steps `IF_CONNECTED` by which a report can go out."""
    found = [step for step in IF_CONNECTED if connected(SYSTEMS[step])]
    return [step for step in found if step != SHEETS or _has_spreadsheet(report)]


def _has_spreadsheet(report: str) -> bool:
    from waybill.hooks.sheets import SheetsHook  # noqa: PLC0415 - few have one

    try:
        return report in SheetsHook().spreadsheets()
    except ConnectionUnusable:
        return True  # its delivery says what is wrong, and the report goes out in every other way
