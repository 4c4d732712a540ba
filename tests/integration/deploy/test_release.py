"""A release as the full deployment makes it: its migrations and first accounts, and the roles of its auth manager.

Run without a container: the same script, the same settings, a real API server with FAB's users.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from sqlalchemy import URL, create_engine, text

from tests.support.folders import temporary_folder
from tests.support.stack import free_port

ROOT = Path(__file__).parents[3]
PASSWORD = "a-password-of-a-test"
pytestmark = [pytest.mark.airflow, pytest.mark.slow]


@dataclass(frozen=True)
class Deployment:
    """An API server on migrated databases, by its address."""

    url: str

    @contextmanager
    def log_in(self, username: str) -> Iterator[httpx.Client]:
        """Give a client of an account."""
        with httpx.Client(base_url=self.url, timeout=60) as client:
            answer = client.post("/auth/token", json={"username": username, "password": PASSWORD})
            assert answer.status_code == 201, answer.text
            client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
            yield client

    def add_account(self, role: str) -> str:
        """Make an account with one role, as the administrator does, and return its name."""
        fields = {"first_name": role, "last_name": "Test", "email": f"{role.lower()}@example.com"}
        body = {**fields, "username": role.lower(), "password": PASSWORD, "roles": [{"name": role}]}
        with self.log_in("admin") as admin:
            admin.post("/auth/fab/v1/users", json=body).raise_for_status()
        return role.lower()


@pytest.fixture(scope="module")
def deployment(server_url: URL) -> Iterator[Deployment]:
    """Migrate two empty databases, and start the API server of docker-compose.yaml on them."""
    admin = create_engine(server_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        for name in ("deployed_waybill", "deployed_airflow"):
            connection.execute(text(f"create database {name}"))
    folder, port = temporary_folder("waybill-deployed-"), free_port()
    airflow = server_url.set(database="deployed_airflow", drivername="postgresql+psycopg2")
    compose = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "WAYBILL"))},
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'plugins'}",
        "AIRFLOW_HOME": str(folder),
        "AIRFLOW__CORE__AUTH_MANAGER": compose["x-airflow"]["environment"]["AIRFLOW__CORE__AUTH_MANAGER"],
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__API__SECRET_KEY": "a-key-of-a-test",
        "AIRFLOW__API_AUTH__JWT_SECRET": "another-key" * 8,
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": airflow.render_as_string(hide_password=False),
        "WAYBILL_DATABASE_URL": server_url.set(
            database="deployed_waybill", drivername="postgresql"
        ).render_as_string(hide_password=False),
        "WAYBILL_ENVIRONMENT": "staging",
        "WAYBILL_ADMIN_PASSWORD": PASSWORD,
        "WAYBILL_WATCHER_PASSWORD": PASSWORD,
    }  # fmt: skip
    migrated = subprocess.run(
        ["sh", "deploy/migrate"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert migrated.returncode == 0, migrated.stdout[-2000:] + migrated.stderr[-2000:]
    command = ["airflow", "api-server", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, server, folder / "log")
        yield Deployment(url)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, 9)
        server.wait()
        shutil.rmtree(folder, ignore_errors=True)
        with admin.connect() as connection:
            for name in ("deployed_waybill", "deployed_airflow"):
                connection.execute(text(f"drop database {name} with (force)"))
        admin.dispose()


def _wait_for(url: str, server: subprocess.Popen[Any], log: Path) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until and server.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(f"{url}/api/v2/version").is_success:
                return
        time.sleep(0.3)
    raise AssertionError(log.read_text()[-3000:])


PAGES = ("board", "cases", "quarantine", "effects", "approvals", "alerts", "reports", "map", "health")


@pytest.mark.parametrize(
    ("role", "sees", "acts"),
    [("Op", True, True), ("User", True, False), ("Viewer", True, False), ("Public", False, False)],
)
def test_fab_s_roles_are_those_of_the_pages(deployment: Deployment, role: str, sees: bool, acts: bool) -> None:
    with deployment.log_in(deployment.add_account(role)) as account:
        assert {page: account.get(f"/waybill/{page}").status_code for page in PAGES} == dict.fromkeys(
            PAGES, 200 if sees else 403
        )
        assert ('action="/waybill/alerts/windows"' in account.get("/waybill/alerts").text) is acts
        forged = account.post("/waybill/effects", data={"action": "retry", "ids": "1"})
        assert forged.status_code == 403, "nobody acts without the page's own form"


def test_a_stranger_is_sent_to_the_login(deployment: Deployment) -> None:
    with httpx.Client(base_url=deployment.url) as stranger:
        answer = stranger.get("/waybill/board", headers={"Accept": "text/html"})
        assert answer.status_code == 401
        assert "/auth/login" in answer.text


def test_the_watcher_may_look_at_what_alerts_ask_for_and_delete_runs_and_nothing_else(deployment: Deployment) -> None:
    run = "/api/v2/dags/lead_import/dagRuns"
    with deployment.log_in("watcher") as watcher:
        for path in ("importErrors", "dags", "dags/~/dagRuns"):
            assert watcher.get(f"/api/v2/{path}").status_code == 200, path
        assert watcher.delete(f"{run}/unknown").status_code == 404
        assert watcher.post(run, json={"logical_date": None}).status_code == 403
        assert watcher.post("/api/v2/pools", json={"name": "x", "slots": 1}).status_code == 403
