"""The demo's reports: previews of today, triggered as a person triggers them, and where they went.

Yesterday's reports are made by the clock; on a new Waybill they are empty.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime
from typing import Any

from rich.table import Table

from include.reporting.catalogue import REPORTS
from include.reporting.editions import Delivery, Edition, deliveries, editions
from include.runtime import health, local
from include.runtime.demo.stage import Bar, Stage

DAG = "reports_daily"
ENDED = ("success", "failed", "skipped", "upstream_failed")


def ask_for_reports(stage: Stage) -> str:
    """Trigger the reports of the day so far; return the run's id."""
    with health.client(stage.home, local.admin_password(stage.home)) as api:
        answer = api.post(f"/api/v2/dags/{DAG}/dagRuns", json={"logical_date": None, "conf": {"preview": True}})
        run: str = answer.raise_for_status().json()["dag_run_id"]
    return run


def follow_reports(stage: Stage, run: str) -> bool:
    """Wait until the reports are made and delivered; return whether they were, in time."""
    address = f"/api/v2/dags/{DAG}/dagRuns/{run}"
    start, done = time.monotonic(), 0
    with health.client(stage.home, local.admin_password(stage.home)) as api:
        tasks = _tasks(api, address)
        with Bar(stage.console, "Reports of today so far, made and delivered", len(tasks)) as advance:
            while (state := api.get(address).raise_for_status().json()["state"]) not in ("success", "failed"):
                if time.monotonic() - start > stage.seconds:
                    stage.console.print(f"[red]After {stage.seconds:.0f} s the reports are not made.[/red]")
                    return False
                states = Counter(task["state"] for task in _tasks(api, address))
                ended = sum(states[each] for each in ENDED)
                advance(ended - done, f"{states['running']} under way")
                done = ended
                time.sleep(0.3)
    stage.say(f"{DAG}: {state} after {time.monotonic() - start:.1f} s")
    return bool(state == "success")


def print_reports(stage: Stage, since: datetime) -> None:
    """Print the previews that were made since a moment: their pages, files, and who was told."""
    with stage.engine.connect() as connection:
        newest: dict[str, Edition] = {}
        for edition in editions(connection):
            if edition.preview and edition.confirmed_at >= since:
                newest.setdefault(edition.report, edition)
        sent = deliveries(connection, [key for edition in newest.values() for key in edition.effects])
    table = Table(
        "report", "state", "page", "told by chat", "told by mail",
        title="The reports of today so far", title_justify="left", box=None, padding=(0, 2),
    )  # fmt: skip
    folders, plots = set(), []
    for name in (each for each in REPORTS if each in newest):
        made = newest[name]
        went = [sent[key] for key in made.effects if key in sent]
        page = f"{stage.home.url}/waybill/reports/{made.id}"
        table.add_row(REPORTS[name].title, made.state, page, _told(went, "chat"), _told(went, "mail"))
        plots += [each.effect_id for each in went if each.operation == "post_picture"]
        folders |= {each.to.partition(f"/{made.place}")[0] for each in went if each.system == "reporting"}
    stage.console.print()
    stage.console.print(table)
    for folder in sorted(folders):
        stage.console.print(f"  Their files, CSV and Parquet, are in {folder}/preview", highlight=False)
    if plots:
        page = f"{stage.home.url}/waybill/effects/{plots[0]}"
        stage.console.print(f"  A plot that the chat got as a reply to its message: {page}", highlight=False)
    stage.console.print("  They say that they are previews; the final ones are made tomorrow at five.\n")


def _tasks(api: Any, address: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(f"{address}/taskInstances").raise_for_status().json()["task_instances"]
    return found


def _told(went: list[Delivery], system: str) -> str:
    names = (each.to if each.state == "sent" else f"{each.to} ({each.state})" for each in went if each.system == system)
    return ", ".join(dict.fromkeys(names))
