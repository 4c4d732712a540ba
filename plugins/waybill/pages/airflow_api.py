"""What Airflow says of itself, asked over its public API as the visitor: nobody sees more here than there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi import Request

from include.environment import base_url
from include.privacy.person import Person
from waybill import typed

TIMEOUT = 5.0  # seconds
COOKIE = "_token"


@dataclass(frozen=True)
class Airflow:
    """What it answered.

    :param trouble: why it did not; everything else is empty then.
    """

    import_errors: list[dict[str, Any]] = field(default_factory=list)
    trouble: str | None = None


def ask(request: Request) -> Airflow:
    """Ask for the DAG files that cannot be read."""
    try:
        with signed_in(request) as airflow:
            errors = airflow.get("/api/v2/importErrors").raise_for_status().json()["import_errors"]
    except (httpx.HTTPError, KeyError, ValueError) as error:
        return Airflow(trouble=type(error).__name__)
    return Airflow(errors)


def signed_in(request: Request) -> httpx.Client:
    """Return a client of Airflow's API with the visitor's own rights."""
    token = request.cookies.get(COOKIE) or request.headers.get("authorization", "").removeprefix("Bearer ")
    return httpx.Client(base_url=base_url(), timeout=TIMEOUT, headers={"Authorization": f"Bearer {token}"})


def runs_naming(request: Request, person: Person) -> list[str] | None:
    """Return the runs into whose forms a person was typed, as far as the visitor may see them; None: not answered."""
    try:
        with signed_in(request) as airflow:
            return typed.runs_naming(airflow, person)
    except (httpx.HTTPError, KeyError, ValueError):
        return None
