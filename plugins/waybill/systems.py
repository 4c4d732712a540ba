"""Chooses the provider of each role: the connected system, or the built-in one where nothing is connected.

A role `crm` is connected by an Airflow connection `waybill_crm`; its type says which system it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from include.data.database import engine
from include.integrations.builtin.chat_log import ChatLog
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.builtin.erp import BuiltinErp
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.systems import Provider

ANY = "*"
"""Stands for every type of connection, where the provider itself finds out whether it can use one."""


class UnknownSystem(ValueError):
    """A role is connected to a type of system that Waybill has no provider for, or must be connected and is not."""


def _report_files(target: Any) -> Provider:
    from waybill.reports import report_files  # noqa: PLC0415 - few tasks need it

    return report_files(target)


def _airflow_runs(_: Any) -> Provider:
    from waybill.typed import AirflowRuns  # noqa: PLC0415 - only erasures need it

    return AirflowRuns()


BUILTIN: dict[str, Callable[[Any], Provider]] = {
    "crm": BuiltinCrm,
    "erp": BuiltinErp,
    "mail": LocalMailbox,
    "chat": ChatLog,
    "reporting": _report_files,
    "airflow": _airflow_runs,
}


def provider(role: str) -> Provider:
    """Return the provider of `role` in this environment.

    :raises UnknownSystem: when the role's connection has a type that no provider serves.
    """
    connection_id = f"waybill_{role}"
    try:
        connection = Connection.get(connection_id)
    except AirflowNotFoundException:
        if role not in BUILTIN:
            raise UnknownSystem(f"nothing is connected as {role}: make the connection {connection_id}") from None
        return BUILTIN[role](engine())
    known = _connected().get(role, {})
    make = known.get(connection.conn_type, known.get(ANY))
    if make is None:
        raise UnknownSystem(
            f"the connection {connection_id} has type {connection.conn_type!r}; "
            f"the role {role} can be one of: {', '.join(known) or 'none but the built-in'}"
        )
    return make(connection_id)


@contextmanager
def closing_provider(role: str) -> Iterator[Provider]:
    """Give the provider of `role` for a block, and let it end its session and connections, where it has any."""
    found = provider(role)
    try:
        yield found
    finally:
        if close := getattr(found, "close", None):
            close()


def _connected() -> dict[str, dict[str, Callable[[str], Provider]]]:
    """Role -> connection type -> what makes a provider of a connection; imported late, for it is heavy."""
    from waybill import alert_hooks, hooks  # noqa: PLC0415
    from waybill.reports import signed_webhook, warehouse  # noqa: PLC0415

    return {
        **hooks.CONNECTED,
        "chat": alert_hooks.CONNECTED,
        "warehouse": {ANY: warehouse},
        "webhook": {"http": signed_webhook},
        "airflow": {ANY: _airflow_runs},
    }
