"""Asks a running Airflow how it is: its health page, its DAGs, and a token to ask with.

It changes nothing, and knows nothing of Waybill's own tables.
"""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import httpx

from include.runtime.environment import USER, Home, RuntimeProblem

_trusted = functools.cache(httpx.create_ssl_context)
"""Reading the certificates takes longer than any question here."""


def health(home: Home, started: Mapping[str, float] = MappingProxyType({})) -> dict[str, str]:
    """Return each part's status by its name; empty when the API server does not answer.

    :param started: when the process of a part was started, in seconds since 1970: a sign of life from before is its
        dead predecessor's, which Airflow goes on calling healthy for a while, and the part counts as starting.
    """
    try:
        answer = httpx.get(f"{home.url}/api/v2/monitor/health", timeout=5, verify=_trusted())
        parts: dict[str, dict[str, Any]] = answer.raise_for_status().json()
    except (httpx.HTTPError, ValueError):
        return {}
    found = {name: str(part.get("status")) for name, part in parts.items() if isinstance(part, dict)}
    for name, moment in started.items():
        sign_of_life = parts.get(name, {}).get(f"latest_{name}_heartbeat")
        if sign_of_life and datetime.fromisoformat(sign_of_life).timestamp() < moment:
            found[name] = "starting"
    return found


def is_healthy(found: dict[str, str]) -> bool:
    """Return whether every part of Airflow that Waybill needs is up."""
    return all(found.get(name) == "healthy" for name in ("metadatabase", "scheduler", "dag_processor", "triggerer"))


def client(home: Home, password: str, user: str = USER) -> httpx.Client:
    """Return a client of Airflow's REST API, signed in as `user`.

    :raises httpx.HTTPError: when the API server does not answer or refuses.
    """
    with httpx.Client(base_url=home.url, timeout=30, transport=_transport()) as door:
        answer = door.post("/auth/token", json={"username": user, "password": password})
    token = answer.raise_for_status().json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=home.url, timeout=30, transport=_transport(), headers=headers)


def _transport() -> httpx.HTTPTransport:
    return httpx.HTTPTransport(retries=3, verify=_trusted())


def import_errors(api: httpx.Client) -> list[dict[str, Any]]:
    """Return the DAG files that Airflow could not read."""
    found: list[dict[str, Any]] = api.get("/api/v2/importErrors").raise_for_status().json()["import_errors"]
    return found


def parsed_files(api: httpx.Client) -> set[str]:
    """Return the files from which Airflow has read a DAG, relative to the folder of DAGs."""
    dags = api.get("/api/v2/dags", params={"limit": 100, "exclude_stale": True}).raise_for_status().json()["dags"]
    return {str(dag["relative_fileloc"]) for dag in dags}


def refuse_taken_port(home: Home) -> None:
    """Raise when something else listens on the port.

    :raises RuntimeProblem: naming the port, and how to choose another.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", home.port))
        except OSError as error:
            raise RuntimeProblem(
                f"Port {home.port} is taken by another program. Stop it, or choose another port:"
                f" `WAYBILL_PORT={home.port + 1} make up`."
            ) from error


def warm(home: Home) -> None:
    """Have the API server build what tasks ask of it: that takes 3 s, which no lead should wait for."""
    with contextlib.suppress(httpx.HTTPError):
        httpx.get(f"{home.url}/execution/health", timeout=30, verify=_trusted())
