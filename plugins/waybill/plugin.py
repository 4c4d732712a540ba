"""Registers Waybill with Airflow: what the API server mounts, and what its navigation shows."""

from __future__ import annotations

import sys

from airflow.plugins_manager import AirflowPlugin

from waybill.deadlines import RunMade


def _is_api_server() -> bool:
    """Apps are mounted by the API server only; the other processes need not import them."""
    return any("api-server" in argument or "api_fastapi" in argument for argument in sys.argv)


class WaybillPlugin(AirflowPlugin):
    """What Airflow loads of Waybill beside its DAGs."""

    name = "waybill"
    deadline_references = [RunMade]  # noqa: RUF012 - Airflow's base class declares it so

    if _is_api_server():
        from waybill import approval_guard, data_docs, intake, slack_actions, stock_pages  # noqa: PLC0415
        from waybill.pages import app as pages  # noqa: PLC0415

        fastapi_apps = [
            intake.fastapi_app(),
            pages.FASTAPI_APP,
            data_docs.FASTAPI_APP,
            slack_actions.fastapi_app(),
            stock_pages.FASTAPI_APP,
        ]
        fastapi_root_middlewares = [approval_guard.MIDDLEWARE]
        external_views = [*pages.EXTERNAL_VIEWS, data_docs.EXTERNAL_VIEW, stock_pages.EXTERNAL_VIEW]
