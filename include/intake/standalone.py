"""The intake as a service of its own, under the same paths as inside Airflow's API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from include.intake.app import create_app
from include.intake.sources import sources

PREFIX = "/intake"


def app() -> FastAPI:
    """Return the app that a server runs.

    :raises include.intake.sources.SourcesInvalid: a broken declaration stops the start, not the first delivery.
    """
    sources()
    service = create_app(prefix=PREFIX)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await service.state.intake.close()

    service.router.lifespan_context = lifespan
    return service
