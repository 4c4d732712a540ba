"""The entry under which Airflow's API server mounts the intake."""

from __future__ import annotations

from starlette.applications import Starlette

from waybill.intake import fastapi_app

RESERVED = ("/api/v2", "/ui", "/execution", "/auth", "/pluginsv2")


def test_the_intake_is_mounted_where_senders_look_for_it() -> None:
    entry = fastapi_app()
    assert entry["url_prefix"] == "/intake"
    assert not entry["url_prefix"].startswith(RESERVED)
    assert isinstance(entry["app"], Starlette)
    paths = {route.path for route in entry["app"].routes}
    assert paths == {"/health", "/receipts/{receipt}", "/{source}", "/{source}/batch"}
