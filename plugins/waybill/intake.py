"""The intake inside Airflow's API server: the entry that Waybill's plugin lists under `fastapi_apps`.

It proves senders by their signatures; Airflow's login does not stand before it.
"""

from __future__ import annotations

from typing import Any

from include.intake.app import create_app

URL_PREFIX = "/intake"


def fastapi_app() -> dict[str, Any]:
    """Return the mount: an entry of `AirflowPlugin.fastapi_apps`."""
    return {"app": create_app(), "url_prefix": URL_PREFIX, "name": "Waybill intake"}
