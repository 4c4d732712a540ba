"""Airflow's REST API as Waybill asks it: health, a token, import errors, DAGs and their runs, which can be deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from include.contracts.registry import contracts
from include.monitoring.watching.airflow import PARTS, Account
from tests.standins.serving import served

PASSWORD = "password of the watcher"
TOKEN = "a token"
"""Who shows it is logged in."""


@dataclass
class Airflow:
    """What it says; change it, and ask again.

    :param dags: DAG id -> when its next run is due; all of the contracts' DAGs at first, none of them scheduled.
    :param busy: DAGs of which a run is queued or running.
    :param ended: runs that are over, as its API gives them.
    :param refuses: the status that it answers to questions for DAGs; None: it answers them.
    :param hangs: seconds that it thinks about them.
    :param typed: runs with what was typed into their forms, as its API gives them.
    :param may_delete: whether the account may.
    :param asked: how often it was asked for them.
    """

    url: str = ""
    health: dict[str, str] = field(default_factory=lambda: dict.fromkeys(PARTS, "healthy"))
    import_errors: dict[str, str] = field(default_factory=dict)
    dags: dict[str, datetime | None] = field(
        default_factory=lambda: {dag: None for declared in contracts().values() for dag in declared.dags}
    )
    paused: set[str] = field(default_factory=set)
    busy: set[str] = field(default_factory=set)
    ended: list[dict[str, Any]] = field(default_factory=list)
    typed: list[dict[str, Any]] = field(default_factory=list)
    may_delete: bool = True
    password: str = PASSWORD
    refuses: int | None = None
    hangs: float = 0
    asked: int = 0

    @property
    def account(self) -> Account:
        """The account that may look."""
        return Account(self.url, "watcher", SecretStr(PASSWORD))

    def overdue(self, dag_id: str) -> None:
        """Let a run be due for an hour."""
        self.dags[dag_id] = datetime.now(UTC) - timedelta(hours=1)


@contextmanager
def airflow_standin() -> Iterator[Airflow]:
    """Serve one."""
    airflow = Airflow()

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({name: {"status": status} for name, status in airflow.health.items()})

    async def token(request: Request) -> JSONResponse:
        if await request.json() != {"username": "watcher", "password": airflow.password}:
            return JSONResponse({"detail": "Invalid credentials"}, 401)
        return JSONResponse({"access_token": TOKEN}, 201)

    async def import_errors(request: Request) -> JSONResponse:
        rows = [
            {"import_error_id": number, "filename": name, "stack_trace": stack, "timestamp": "2026-11-21T01:00:00Z"}
            for number, (name, stack) in enumerate(airflow.import_errors.items(), 1)
        ]
        return answer(request, "import_errors", rows)

    async def dags(request: Request) -> JSONResponse:
        airflow.asked += 1
        await asyncio.sleep(airflow.hangs)
        if airflow.refuses:
            return JSONResponse({"detail": "no"}, airflow.refuses)
        rows = [
            {
                "dag_id": dag_id,
                "is_paused": dag_id in airflow.paused,
                "next_dagrun_run_after": due and due.isoformat().replace("+00:00", "Z"),
            }
            for dag_id, due in airflow.dags.items()
        ]
        return answer(request, "dags", rows)

    async def runs(request: Request) -> JSONResponse:
        if asked := request.query_params.get("conf_contains"):
            assert request.path_params["dag_id"] == "~"
            return answer(request, "dag_runs", [row for row in airflow.typed if asked in str(row["conf"])])
        if request.path_params["dag_id"] == "~":
            since, until = request.query_params["end_date_gt"], request.query_params["end_date_lte"]
            assert request.query_params["order_by"] == "end_date"
            rows = sorted(airflow.ended, key=lambda row: str(row["end_date"]))
            return answer(request, "dag_runs", [row for row in rows if since < row["end_date"] <= until])
        assert request.query_params.getlist("state") == ["queued", "running"]
        return answer(request, "dag_runs", [{}] if request.path_params["dag_id"] in airflow.busy else [])

    async def delete_run(request: Request) -> Response:
        if request.headers.get("authorization") != "Bearer a token":
            return JSONResponse({"detail": "Not authenticated"}, 401)
        if not airflow.may_delete:
            return JSONResponse({"detail": "Forbidden"}, 403)
        name = request.path_params["dag_id"], request.path_params["run_id"]
        found = [row for row in airflow.typed if (row["dag_id"], row["dag_run_id"]) == name]
        if not found:
            return JSONResponse({"detail": "was not found"}, 404)
        if found[0].get("state") == "running":
            return JSONResponse({"detail": "cannot be deleted in running state"}, 409)
        airflow.typed.remove(found[0])
        return Response(status_code=204)

    app = Starlette(
        routes=[
            Route("/api/v2/monitor/health", health),
            Route("/auth/token", token, methods=["POST"]),
            Route("/api/v2/importErrors", import_errors),
            Route("/api/v2/dags", dags),
            Route("/api/v2/dags/{dag_id}/dagRuns", runs),
            Route("/api/v2/dags/{dag_id}/dagRuns/{run_id}", delete_run, methods=["DELETE"]),
        ]
    )
    with served(app) as url:
        airflow.url = url
        yield airflow


def answer(request: Request, name: str, rows: list[Any]) -> JSONResponse:
    """A page of a list, for who shows the token."""
    if request.headers.get("authorization") != f"Bearer {TOKEN}":
        return JSONResponse({"detail": "Not authenticated"}, 401)
    limit, offset = int(request.query_params.get("limit", 50)), int(request.query_params.get("offset", 0))
    return JSONResponse({name: rows[offset : offset + limit], "total_entries": len(rows)})
