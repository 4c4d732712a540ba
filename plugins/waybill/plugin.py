"""Registers Waybill with Airflow: the intake, the Data Docs, the operators' hooks."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

APPS: list[dict[str, Any]] = []


class WaybillPlugin(AirflowPlugin):
    """What Airflow's API server mounts of Waybill."""

    name = "waybill"
    fastapi_apps = APPS  # noqa: RUF012 - so Airflow declares it
