"""A running production: its crm, chat, mail and monitor are outside, and its alerts are read where people read them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from sqlalchemy import text

from include.contracts.registry import load_teams
from include.data.database import authored
from include.monitoring.alerts.messages import Kind
from include.runtime.environment import REPOSITORY
from include.runtime.supervision import Supervisor
from tests.standins.hubspot import TOKEN as HUBSPOT_TOKEN
from tests.standins.hubspot import HubSpot, hubspot
from tests.standins.slack import TOKEN, Posted, Slack, slack_standin
from tests.support.post import Post, mail_server, subject_of, words
from tests.support.releases import Release, release
from tests.support.stack import Waybill, start_waybill, stop_waybill

PLATFORM = load_teams()["platform"]
SILENT_AFTER = 75
SHORT_DEADLINE = "deadline_after=timedelta(seconds=2)"
"""What this release says of the DAG `stock_classes`."""
PARTS = {"What broke": "broke", "Touches": "touches", "Heals by itself": "heals", "Do": "do",
         "Run": "run", "Cases": "cases", "Runbook": "runbook"}  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What a message says, part by part; `run`, `cases` and `runbook` are addresses."""

    headline: str
    broke: str
    touches: str
    heals: str
    do: str
    run: str
    cases: str
    runbook: str
    often: str

    @classmethod
    def of(cls, said: str) -> Told:
        """Take a message apart; fail when it lacks something that a person needs."""
        lines = [line for line in said.splitlines() if line]
        start = next(place for place, line in enumerate(lines) if line[0] in "🔴✅")
        found: dict[str, str] = {"headline": lines[start][2:]}
        for line in lines[start + 1 :]:
            name, _, value = line.partition(": ")
            if name in PARTS:
                found[PARTS[name]] = value
            else:
                found["often"] = line
        told = cls(**found)
        assert all(vars(told).values()), said
        return told


@dataclass
class Monitor:
    """The monitor outside: it hears pings, and knows nothing else."""

    address: str = ""
    heard: list[str] = field(default_factory=list)


@dataclass
class Production:
    """A running Waybill, the systems that it is connected to, and where people read what it tells."""

    crm: HubSpot
    chat: Slack
    post: Post
    monitor: Monitor
    release: Release
    crm_address: str
    waybill: Waybill = field(init=False)

    @property
    def connections(self) -> dict[str, dict[str, Any]]:
        """What an operator enters in Airflow, by connection id."""
        return {
            "waybill_crm": {"conn_type": "hubspot", "host": self.crm_address, "password": HUBSPOT_TOKEN},
            "waybill_chat": {"conn_type": "slack", "password": TOKEN, "extra": json.dumps({"base_url": self.chat.api})},
            "waybill_mail": {
                "conn_type": "smtp", "host": "127.0.0.1", "port": self.post.port,
                "extra": json.dumps(
                    {"from_email": "Waybill <waybill@seller.example>", "disable_ssl": True, "disable_tls": True}
                ),
            },
        }  # fmt: skip

    def connect(self, name: str) -> None:
        """Enter a connection in Airflow."""
        answer = self.waybill.api.post("/api/v2/connections", json={"connection_id": name, **self.connections[name]})
        assert answer.status_code == 201, answer.text

    def disconnect(self, name: str) -> None:
        """Take a connection away."""
        assert self.waybill.api.delete(f"/api/v2/connections/{name}").status_code == 204

    def look(self, state: str = "success") -> None:
        """Let the alerts run once, from now on."""
        self.waybill.finish("waybill_alerts", self.waybill.trigger("waybill_alerts"), state)

    def change(self, statement: str, **values: Any) -> None:
        """Change the database by hand: to let time go by, and for nothing else unless a test says so."""
        with authored(self.waybill.engine, actor="system:test") as connection:
            connection.execute(text(statement), values)

    def submit(self, page: str, to: str, **fields: str) -> None:
        """Fill in a form of the ops pages, and send it.

        :param page: where the form is, below /waybill/.
        :param to: where it goes.
        """
        shown = self.waybill.api.get(f"/waybill/{page}").raise_for_status().text
        hidden = dict(re.findall(r'<input type="hidden" name="(token|seen)" value="([^"]*)">', shown))
        answer = self.waybill.api.post(f"/waybill/{to}", data=hidden | fields)
        assert answer.status_code == 303, answer.text

    def posted(self, *parts: str) -> list[Posted]:
        """Return the messages in the chat that hold all the parts."""
        return [one for one in self.chat.messages if all(part in one.whole for part in parts)]

    def read(self, *parts: str, channel: str = PLATFORM.chat) -> Told:
        """Read the newest alert with these parts in a team's channel, once its address has been followed."""
        found = [one for one in self.posted(*parts) if one.text[0] in "🔴✅" and "\nRunbook: " in one.text]
        assert found, f"{parts} among {[one.text.splitlines()[0] for one in self.chat.messages]}"
        assert found[-1].channel == f"C-{channel.lstrip('#')}"
        told = Told.of(found[-1].text)
        assert found[-1].blocks, "it is laid out"
        self.follow(told)
        return told

    def mailed(self, subject: str, to: str = PLATFORM.email) -> Told:
        """Read the only mail of a subject."""
        (mail,) = [one for one in self.post.to(to) if subject_of(one) == f"[Waybill] {subject}"]
        told = Told.of(words(mail))
        self.follow(told)
        return told

    def follow(self, told: Told) -> None:
        """Follow the three links: a page of Airflow's, the cases, and a runbook that is in the repository."""
        kind = told.runbook.rsplit("/", 1)[-1]
        assert kind in set(Kind)
        assert (REPOSITORY / "docs" / "runbooks" / f"{kind}.md").is_file()
        api, home = self.waybill.api, self.waybill.home.url
        for link in (told.run, told.cases, told.runbook):
            assert link.startswith(home), link
            assert api.get(link).status_code == 200, link
        runbook = api.get(told.runbook).text
        assert "What it means" in runbook
        assert "what to do" in runbook.lower()
        page, _, _ = told.run.removeprefix(home).partition("?")
        if page.startswith("/dags/"):  # any page of Airflow's answers; whether the run is there is asked of its API
            parts = page.strip("/").split("/")
            path = "/".join({"runs": "dagRuns", "tasks": "taskInstances"}.get(part, part) for part in parts)
            assert api.get(f"/api/v2/{path}").status_code == 200, told.run

    def open_alerts(self, kind: Kind) -> list[dict[str, Any]]:
        """Return the alerts of a kind that are open."""
        return self.waybill.rows("select * from alerts where state = 'open' and kind = :kind order by id", kind=kind)

    def eventually_open(self, kind: Kind, seconds: float = 60) -> None:
        """Wait until an alert of a kind is open that a callback raises."""
        self.waybill.wait_until(lambda: self.open_alerts(kind), seconds)

    def recovered(self, headline: str, channel: str = PLATFORM.chat) -> Told:
        """Let the alerts look, and read that it is over: in place, and in a message that calls people back."""
        self.look()
        called = [one for one in self.posted(f"Recovered: {headline}") if "\nRunbook: " not in one.text]
        assert called, f"{headline} among {[one.text.splitlines()[0] for one in self.chat.messages]}"
        return self.read(f"Recovered: {headline}", channel=channel)

    def part(self, name: str, action: str) -> None:
        """Start or stop one of the programs, as a person does with supervisorctl."""
        subprocess.run(
            [sys.executable, "-m", "supervisor.supervisorctl", "-s",
             f"unix://{self.waybill.home.sockets / 'supervisor.sock'}", action, name],
            check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        wanted = {"start": "RUNNING", "stop": "STOPPED"}[action]
        states = Supervisor(self.waybill.home).states
        self.waybill.wait_until(lambda: states()[name]["statename"] == wanted, 60)


@contextmanager
def monitor_outside() -> Iterator[Monitor]:
    """Serve a monitor on 127.0.0.1."""
    monitor = Monitor()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            monitor.heard.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    monitor.address = f"http://127.0.0.1:{server.server_address[1]}/ping/waybill"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield monitor
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


@contextmanager
def production(**settings: str) -> Iterator[Production]:
    """Start a production whose systems and monitor are outside, and whose DAG files a test may break.

    Its connections are entered in Airflow, where they can be taken away, and not in the environment.
    """
    with (
        hubspot() as (crm, address),
        slack_standin() as chat,
        mail_server() as post,
        monitor_outside() as monitor,
        release() as files,
    ):
        crm.create_waybill_properties()
        classes = files.dags / "stock_count" / "stock_classes.py"
        classes.write_text(classes.read_text().replace("deadline_after=timedelta(hours=2)", SHORT_DEADLINE))
        found = Production(crm, chat, post, monitor, files, address)
        found.waybill = start_waybill(**_settings(found) | settings)
        try:
            for name in found.connections:
                found.connect(name)
            yield found
        finally:
            stop_waybill(found.waybill)


def _settings(found: Production) -> Mapping[str, str]:
    return {
        "WAYBILL_ENVIRONMENT": "production",
        "WAYBILL_DEADMAN_URL": found.monitor.address,
        "WAYBILL_SILENT_AFTER": str(SILENT_AFTER),
        "AIRFLOW__CORE__DAGS_FOLDER": str(found.release.dags),
        # Seconds after which Airflow sees that a file has changed, and that its scheduler is dead.
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3",
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
    }
