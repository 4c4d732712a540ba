"""Reports in a running Airflow: past days are backfilled with the same figures, and readers get them once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.stock.warehouse import warehouse
from tests.support.mix import known_mix
from tests.support.stack import Waybill
from tests.support.work import change

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(900)]

DAG = "reports_daily"
ENDED = ("success", "failed")


@dataclass
class Days:
    """Three past days on which nothing but this test's leads happened, and the reports of them."""

    waybill: Waybill
    days: tuple[date, date, date]
    seed: int = 700

    def send(self, day: date, leads: int) -> None:
        """Send leads now that people wrote at noon of a day."""
        self.seed += 1
        written = datetime.combine(day, time(12), warehouse().zone).isoformat()
        self.waybill.send([body | {"submitted_at": written} for body in known_mix(leads, seed=self.seed).bodies])
        self.waybill.settle()

    def backfill(self) -> None:
        """Make the reports of the three days, as a person does in Airflow, and wait until they are delivered."""
        first, last = (datetime.combine(day, time(), warehouse().zone) for day in (self.days[0], self.days[2]))
        self.waybill.pause(DAG, False)
        answer = self.waybill.api.post(
            "/api/v2/backfills",
            json={
                "dag_id": DAG, "from_date": first.isoformat(), "to_date": (last + timedelta(hours=20)).isoformat(),
                "reprocess_behavior": "completed", "dag_run_conf": {"reports": ["leads"]}, "max_active_runs": 3,
            },
        )  # fmt: skip
        assert answer.status_code == 200, answer.text
        done = f"/api/v2/backfills/{answer.json()['id']}"
        self.waybill.wait_until(lambda: self.waybill.api.get(done).json()["completed_at"], 300)
        # The clock's own run, which comes as soon as the DAG is not paused, looks at these days too.
        self.waybill.wait_until(lambda: not self.under_way(), 300)
        assert [run["state"] for run in self.runs()] == ["success"] * 3

    def runs(self) -> list[dict[str, Any]]:
        """The backfilled runs, the first day first."""
        found = self.waybill.api.get(
            f"/api/v2/dags/{DAG}/dagRuns", params={"run_type": "backfill", "order_by": "logical_date"}
        )
        runs: list[dict[str, Any]] = found.raise_for_status().json()["dag_runs"]
        return runs

    def under_way(self) -> int:
        """How many runs have not ended."""
        asked = {"state": ["queued", "running"]}
        found = self.waybill.api.get(f"/api/v2/dags/{DAG}/dagRuns", params=asked).raise_for_status().json()
        return int(found["total_entries"])

    def again(self, day: date) -> dict[str, Any]:
        """Clear the run of a day, and wait until it has ended again."""
        run = self.runs()[self.days.index(day)]
        path = f"/api/v2/dags/{DAG}/dagRuns/{run['dag_run_id']}"
        before = self.waybill.api.get(path).json()["end_date"]
        assert self.waybill.api.post(f"{path}/clear", json={"dry_run": False}).status_code == 200

        def ended() -> Any:
            now = self.waybill.api.get(path).json()
            return now if now["state"] in ENDED and now["end_date"] not in (None, before) else None

        found: dict[str, Any] = self.waybill.wait_until(ended, 200)
        return found

    def editions(self) -> list[dict[str, Any]]:
        """What was said of the days."""
        return self.waybill.rows(
            """select id, first_day, revision, state, figures->'totals'->0->>0 as leads, reasons from report_editions
               where report = 'leads' and period = 'daily' and first_day = any(:days) order by first_day, revision""",
            days=list(self.days),
        )

    def told(self) -> dict[str, list[str]]:
        """What readers got about the days, in the chat and by mail."""
        days = [f"%Leads, {day:%a} {day.day} {day:%b %Y}%" for day in self.days]
        chat = """select channel || ': ' || text as told from chat_log
                  where text like any(:days) and key not like '%/plot' order by posted_at, channel"""
        mails = """select "to" || ': ' || subject as told from mailbox where subject like any(:days) order by 1"""
        return {
            way: [row["told"] for row in self.waybill.rows(query, days=days)]
            for way, query in (("chat", chat), ("mail", mails))
        }

    def folder(self, day: date) -> Path:
        """Where the files of a day are."""
        return self.waybill.home.path / "exports" / "reports" / "leads" / "daily" / day.isoformat()

    def files(self) -> dict[str, bytes]:
        """What lies in the folders of the days."""
        found = [path for day in self.days for path in sorted(self.folder(day).rglob("*")) if path.is_file()]
        return {str(path): path.read_bytes() for path in found}


@pytest.fixture(scope="module")
def days(waybill: Waybill) -> Iterator[Days]:
    """The days, with leads on them, and their reports made."""
    today = datetime.now(UTC).astimezone(warehouse().zone).date()
    found = Days(waybill, tuple(today - timedelta(days=back) for back in (5, 4, 3)))  # type: ignore[arg-type]
    for day, leads in zip(found.days, (2, 3, 1), strict=True):
        found.send(day, leads)
    found.backfill()
    yield found
    waybill.assert_balanced()


def test_a_backfill_over_three_days_gives_the_same_figures_twice_and_is_told_once(days: Days) -> None:
    editions, told, files = days.editions(), days.told(), days.files()
    assert [(each["first_day"], each["leads"], each["state"]) for each in editions] == [
        (days.days[0], "2", "published"),
        (days.days[1], "3", "published"),
        (days.days[2], "1", "published"),
    ]
    assert len(told["chat"]) == 3
    assert len(told["mail"]) == 9, "sales, marketing and revenue operations read of each day"
    about = json.loads(files[str(days.folder(days.days[1]) / "edition.json")])
    assert (about["edition"], about["preview"]) == (editions[1]["id"], False)
    days.backfill()
    assert days.editions() == editions
    assert days.told() == told
    assert days.files() == files


def test_what_comes_late_is_counted_on_its_own_day_and_told_as_put_right(days: Days) -> None:
    editions, told = days.editions(), days.told()
    middle = days.days[1]
    days.send(middle, 2)
    assert days.again(middle)["state"] == "success"
    assert [(each["first_day"], each["revision"], each["leads"]) for each in days.editions()] == [
        (days.days[0], 1, "2"),
        (middle, 1, "3"),
        (middle, 2, "5"),
        (days.days[2], 1, "1"),
    ]
    (message,) = set(days.told()["chat"]) - set(told["chat"])
    assert message.endswith(", put right")
    assert len(days.told()["mail"]) == len(told["mail"]) + 3
    about = json.loads((days.folder(middle) / "edition.json").read_text())
    assert about["revision"] == 2
    assert [each["id"] for each in days.editions() if each["first_day"] != middle] == [
        each["id"] for each in editions if each["first_day"] != middle
    ]


def test_a_refused_report_goes_to_nobody_and_its_task_fails_with_the_reason(days: Days) -> None:
    waybill, day = days.waybill, days.days[2]
    good, told, files = days.editions()[-1], days.told(), days.files()
    (case,) = waybill.rows(
        "select case_id as id from report_lead_facts where (happened_at at time zone :zone)::date = :day",
        zone=warehouse().zone.key, day=day,
    )  # fmt: skip
    spoil = "update report_lead_facts set processed_at = received_at + cast(:after as interval) where case_id = :id"
    change(waybill.engine, spoil, after="-1 hour", **case)
    try:
        run = days.again(day)
        assert run["state"] == "failed"
        path = f"/api/v2/dags/{DAG}/dagRuns/{run['dag_run_id']}/taskInstances"
        tasks = {each["task_id"]: each for each in waybill.api.get(path).json()["task_instances"]}
        assert (tasks["leads"]["state"], tasks["tell_by_chat"]["state"]) == ("failed", "success")
        log = waybill.api.get(f"{path}/leads/logs/{tasks['leads']['try_number']}").text
        assert "is not published" in log
        assert "leads that were ready before they came: expected 0, found 1" in log
        refused = days.editions()[-1]
        assert (refused["state"], refused["reasons"][0]["code"]) == ("refused", "report.disagrees")
        assert days.told() == told
        assert days.files() == files, "the last good edition stays"
        assert json.loads((days.folder(day) / "edition.json").read_text())["edition"] == good["id"]
    finally:
        change(waybill.engine, spoil, after="1 minute", **case)


def test_every_dag_has_a_deadline(waybill: Waybill) -> None:
    found = waybill.api.get("/api/v2/dags", params={"limit": 100}).json()["dags"]
    assert len(found) > 40
    token = waybill.api.headers["Authorization"].removeprefix("Bearer ")
    lacking = [
        dag["dag_id"]
        for dag in found
        if not waybill.api.get(f"/ui/dags/{dag['dag_id']}/deadlineAlerts", headers={"Cookie": f"_token={token}"})
        .raise_for_status()
        .json()["total_entries"]
    ]
    assert lacking == []
