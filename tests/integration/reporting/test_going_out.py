"""Reports leave by a signed webhook and into object stores, and the tasks say what was not taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import os
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.api_fastapi.core_api.datamodels.dag_run import TriggerDAGRunPostBody
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from airflow.serialization.serialized_objects import DagSerialization
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr
from sqlalchemy import Engine
from standardwebhooks import Webhook

from include.data import database
from include.data.database import authored
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.webhook import SecretUnusable, SignedWebhook, key_of, signed
from include.reporting.going_out import CHAT, FILES, MAIL, WEBHOOK, deliver
from include.reporting.intervals import Period
from include.stock.ledger import Movement, post
from tests.standins.serving import served
from tests.support.reports import at, files_of, lead, make
from tests.support.values import prepare, value_all
from tests.support.work import change, rows
from waybill.dags import reports_dag
from waybill.hooks.http import ConnectionUnusable
from waybill.operators.reports import DeliverReportsOperator, MakeReportOperator, ReportRefused, ReportWaits
from waybill.reports import WebhookHook, report_files

pytestmark = pytest.mark.airflow

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """Keeps what it was sent, and answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.queries: list[str] = []
        self.app = FastAPI()

        @self.app.post("/hooks/{name}")
        async def take(name: str, request: Request) -> Response:
            self.got.append((dict(request.headers), await request.body()))
            self.queries.append(request.url.query)
            return Response(f"{name}: {request.url}, {request.query_params}", status_code=self.status)


@pytest.fixture
def receiver(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    found = Receiver()
    with served(found.app) as address:
        connection = {"conn_type": "http", "host": f"{address}/hooks/waybill", "password": SECRET}
        monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_WEBHOOK", json.dumps(connection))
        yield found


@pytest.fixture(autouse=True)
def own_database(engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "development")
    monkeypatch.setenv("WAYBILL_REPORTS_FOLDER", str(tmp_path / "reports"))
    database.engine.cache_clear()
    yield
    database.engine().dispose()
    database.engine.cache_clear()


def webhook() -> SignedWebhook:
    return WebhookHook("waybill_webhook").get_provider()


def run(operator: Any, run_type: str = "scheduled", **params: Any) -> Any:
    return operator.execute({"params": params, "run_id": "x", "dag_run": SimpleNamespace(run_type=run_type)})


def make_daily(report: str = "leads", day: int = 3, *, run_type: str = "scheduled", **params: Any) -> Any:
    """Run the task that makes a report of the day before `day`, at five in the morning."""
    moment = at(day, 5).isoformat()
    operator = MakeReportOperator(task_id=report, report=report, period=Period.DAILY, moment=moment)
    return run(operator, run_type, **params)


def made(engine: Engine) -> list[tuple[int, int, str]]:
    """Day, revision and first figure of each edition."""
    found = rows(
        engine, "select first_day, revision, figures->'totals'->0->>0 as told from report_editions order by id"
    )
    return [(row["first_day"].day, row["revision"], row["told"]) for row in found]


def told(engine: Engine) -> list[str]:
    """What the chat was told, when all is delivered that was planned; plots are apart."""
    for step in (FILES, CHAT, MAIL):
        run(DeliverReportsOperator(task_id=step, step=step))
    return [row["text"] for row in rows(engine, "select text from chat_log where key not like '%/plot' order by key")]


def test_the_signature_is_that_of_the_public_vector() -> None:
    headers = signed(SecretStr(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    for wrong in ("", "whsec_", "not base64!"):
        with pytest.raises(SecretUnusable):
            key_of(wrong)


def test_a_receiver_can_prove_what_it_was_told(engine: Engine, receiver: Receiver) -> None:
    lead(engine, at(2, 9))
    edition = make(engine, "leads", connected=[WEBHOOK])
    assert deliver(engine, webhook(), WEBHOOK) == 0
    ((headers, body),) = receiver.got
    told = Webhook(SECRET).verify(body, headers)
    assert told["type"] == "report.published"
    assert (told["data"]["report"], told["data"]["digest"]) == ("leads", edition.digest)
    assert told["data"]["figures"]["totals"][0]["leads"] == 1
    assert "authorization" not in headers, "the secret signs, and is not sent"
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    text = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    assert base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode() in headers["webhook-signature"]


def test_a_webhook_that_is_told_again_has_the_same_id(engine: Engine, receiver: Receiver) -> None:
    lead(engine, at(2, 9))
    make(engine, "leads", connected=[WEBHOOK])
    receiver.status = 503
    assert deliver(engine, webhook(), WEBHOOK) == 1
    receiver.status = 200
    change(engine, "update effects set available_at = now(); ")
    change(engine, "update circuits set state = 'closed', failures = 0, retry_at = null, probe_until = null")
    assert deliver(engine, webhook(), WEBHOOK) == 0
    assert len({headers["webhook-id"] for headers, _ in receiver.got}) == 1
    assert len(receiver.got) > 1
    make(engine, "leads", connected=[WEBHOOK])
    before = len(receiver.got)
    deliver(engine, webhook(), WEBHOOK)
    assert len(receiver.got) == before, "the same figures are not told again"


def test_a_receiver_that_refuses_for_good_leaves_a_dead_effect(engine: Engine, receiver: Receiver) -> None:
    make(engine, "leads", connected=[WEBHOOK])
    receiver.status = 410
    assert deliver(engine, webhook(), WEBHOOK) == 0
    (effect,) = rows(engine, "select state, error from effects where system = 'webhook'")
    assert effect["state"] == "dead"
    assert SECRET not in effect["error"]


@pytest.mark.parametrize("status", [200, 403, 410, 503])
def test_the_query_of_the_address_is_sent_and_shown_nowhere(
    engine: Engine, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    caplog.set_level(logging.DEBUG, logger="include")
    connection = json.loads(os.environ["AIRFLOW_CONN_WAYBILL_WEBHOOK"])
    query = "code=s3cr%2Bet/x&code=again1&plainkey"
    monkeypatch.setenv(
        "AIRFLOW_CONN_WAYBILL_WEBHOOK", json.dumps(connection | {"host": f"{connection['host']}?{query}"})
    )
    make(engine, "leads", connected=[WEBHOOK])
    receiver.status = status
    deliver(engine, webhook(), WEBHOOK)
    assert set(receiver.queries) == {query}
    (effect,) = rows(engine, "select * from effects where system = 'webhook'")
    assert (effect["state"] == "sent") == (status == 200)
    assert (f"{status} " in str(effect["error"])) == (status != 200)
    for secret in ("s3cr", "again1", "plainkey"):
        assert secret not in str(effect)
        assert secret not in caplog.text


def test_a_connection_without_a_good_secret_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "http", "host": "https://x.example/hooks", "password": "not base64!"}
    monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_WEBHOOK", json.dumps(connection))
    with pytest.raises(ConnectionUnusable, match="whsec_") as refused:
        webhook()
    assert "not base64!" not in str(refused.value)
    connection |= {"host": "ftp://x.example/hooks?code=s3cret"}
    monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_WEBHOOK", json.dumps(connection))
    with pytest.raises(ConnectionUnusable, match="is not an http") as refused:
        webhook()
    assert "s3cret" not in str(refused.value)


def test_files_go_to_an_address_of_a_folder(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_REPORTS_FOLDER", f"file://{tmp_path}/store")
    lead(engine, at(2, 9))
    make(engine, "leads")
    assert deliver(engine, report_files(engine), FILES) == 0
    folder = tmp_path / "store" / "leads" / "daily" / "2026-03-02"
    assert json.loads((folder / "edition.json").read_text())["revision"] == 1
    assert (files_of(folder) / "totals.csv").read_text().startswith("leads,")


def test_a_folder_that_cannot_be_written_is_tried_again(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in_the_way").write_text("a file")
    monkeypatch.setenv("WAYBILL_REPORTS_FOLDER", str(tmp_path / "in_the_way"))
    make(engine, "leads")
    assert deliver(engine, report_files(engine), FILES) == 1
    (effect,) = rows(engine, "select state, error from effects where system = 'reporting'")
    assert (effect["state"], "cannot be written" in effect["error"]) == ("failed", True)


def test_the_tasks_make_check_and_deliver(engine: Engine, tmp_path: Path) -> None:
    lead(engine, at(2, 9))
    edition = make_daily()
    for step in (FILES, CHAT, MAIL):
        run(DeliverReportsOperator(task_id=step, step=step))
    assert {row["state"] for row in rows(engine, "select state from effects")} == {"sent"}
    assert (tmp_path / "reports" / "leads" / "daily" / "2026-03-02" / "edition.json").exists()
    assert make_daily() == edition
    with pytest.raises(AirflowSkipException, match="no webhook"):
        run(DeliverReportsOperator(task_id=WEBHOOK, step=WEBHOOK))
    with pytest.raises(AirflowSkipException, match="not asked for"):
        make_daily("stock", reports=["leads"])


@pytest.mark.parametrize("period", [Period.DAILY, Period.MONTHLY])
def test_a_preview_from_the_form_of_airflow_is_about_now_and_the_final_one_about_what_is_over(
    engine: Engine, period: Period
) -> None:
    dag = reports_dag(f"reports_{period}", period, cron="0 5 1 * *", purpose="")
    now = datetime.now(UTC)
    # The form posts a moment and no interval; the server makes one of it, which is over.
    as_served = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    asked = TriggerDAGRunPostBody(logical_date=now).validate_context(as_served)
    assert asked["data_interval"].end < now
    for preview in (False, True):
        context: Any = {
            "dag_run": SimpleNamespace(run_after=asked["run_after"], run_type="manual"),
            "data_interval_end": asked["data_interval"].end,
            "params": {"preview": preview, "reports": ["leads"]},
            "run_id": asked["run_id"],
        }
        task = copy(dag.get_task("leads"))
        task.render_template_fields(context)
        task.execute(context)
    final, so_far = rows(engine, "select preview, ends_at from report_editions order by id")
    assert (final["preview"], final["ends_at"] < now) == (False, True)
    assert (so_far["preview"], so_far["ends_at"] >= now) == (True, True)
    assert datetime.now(UTC) - so_far["ends_at"] < timedelta(minutes=5)


def test_what_is_told_late_is_counted_on_its_day_by_the_next_run(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    lead(engine, at(2, 9))
    for day in (3, 4, 5):
        make_daily(day=day)
    before = told(engine)
    assert made(engine) == [(2, 1, "1"), (3, 1, "0"), (4, 1, "0")]
    lead(engine, at(2, 10), received=at(5, 10))
    make_daily(day=6)
    assert made(engine)[3:] == [(2, 2, "2"), (5, 1, "0")]
    after = told(engine)
    assert sorted(set(after) - set(before)) == ["Leads, Mon 2 Mar 2026, put right", "Leads, Thu 5 Mar 2026"]
    files = Path(os.environ["WAYBILL_REPORTS_FOLDER"]) / "leads" / "daily" / "2026-03-02"
    assert json.loads((files / "edition.json").read_text())["revision"] == 2

    monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_WEBHOOK", json.dumps({"conn_type": "http", "host": "https://x.example"}))
    make_daily(day=6)
    assert len(made(engine)) == 5
    assert told(engine) == after, "nothing has changed"
    called = rows(engine, "select payload->'data'->>'since' as since from effects where system = 'webhook'")
    assert [call["since"][:10] for call in called] == ["2026-03-05"], "who is there now is not told of what stands"


def test_days_that_nobody_made_are_made_by_the_next_run_but_none_before_the_first(engine: Engine) -> None:
    lead(engine, at(1, 9))
    make_daily(day=3)
    make_daily(day=6)
    assert [day for day, _, _ in made(engine)] == [2, 3, 4, 5]
    assert len(told(engine)) == 4
    make_daily(day=6)
    assert len(made(engine)) == len(told(engine)) == 4
    make_daily(day=20)
    assert [day for day, _, _ in made(engine)][4:] == list(range(12, 20)), "a week back, and no further"


def test_a_backfill_and_a_preview_make_what_was_asked_for(engine: Engine) -> None:
    make_daily(day=3)
    make_daily(day=6, run_type="backfill")
    make_daily(day=6, preview=True)
    assert [day for day, _, _ in made(engine)] == [2, 5, 6]


def test_an_earlier_day_that_is_refused_keeps_today_from_nobody_and_is_made_when_it_is_mended(engine: Engine) -> None:
    case = lead(engine, at(2, 9))
    change(engine, "update report_lead_facts set processed_at = received_at - interval '1 hour'")
    for day in (3, 4):
        with pytest.raises(ReportRefused, match="Leads, Mon 2 Mar 2026, is not published") as refused:
            make_daily(day=day)
    assert [line for line in refused.value.reasons if "is not published" in line] == [
        "Leads, Mon 2 Mar 2026, is not published."
    ]
    assert told(engine) == ["Leads, Tue 3 Mar 2026"]
    change(engine, "update report_lead_facts set processed_at = received_at + interval '1 minute' where case_id = :id",
           id=case)  # fmt: skip
    make_daily(day=5)
    assert sorted(told(engine)) == ["Leads, Mon 2 Mar 2026", "Leads, Tue 3 Mar 2026", "Leads, Wed 4 Mar 2026"]


def test_stock_that_is_not_valued_yet_makes_the_report_wait_and_is_told_once_it_is(engine: Engine) -> None:
    prepare(engine, ("BOLT", "material", "1.00"))
    with authored(engine, actor="system:test") as connection:
        came = Movement("bolt", "receipt", "BOLT", "SUPPLIER", "MAIN", Decimal(100), at(2, 9), unit_cost=Decimal(2))
        post(connection, [came])
    for _ in range(2):
        with pytest.raises(ReportWaits, match=r"movements that are not valued yet: 1\."):
            make_daily("stock")
    assert told(engine) == []
    value_all(engine)
    make_daily("stock")
    assert told(engine) == ["Stock, Mon 2 Mar 2026"]


def test_a_refused_report_fails_its_task_with_the_reasons(engine: Engine) -> None:
    lead(engine, at(2, 9))
    change(engine, "update report_lead_facts set processed_at = received_at - interval '1 hour'")
    with pytest.raises(ReportRefused, match=r"Leads, Mon 2 Mar 2026, is not published.*expected 0, found 1"):
        make_daily()
    assert rows(engine, "select id from effects") == []


def test_a_task_fails_until_its_system_has_taken_all(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in_the_way").write_text("a file")
    make_daily()
    monkeypatch.setenv("WAYBILL_REPORTS_FOLDER", str(tmp_path / "in_the_way"))
    with pytest.raises(AirflowException, match="reporting has not taken 1 reports yet"):
        run(DeliverReportsOperator(task_id=FILES, step=FILES))
    monkeypatch.setenv("WAYBILL_REPORTS_FOLDER", str(tmp_path / "free"))
    change(engine, "update effects set available_at = now()")
    run(DeliverReportsOperator(task_id=FILES, step=FILES))


def test_outside_production_nothing_leaves(
    engine: Engine, receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "staging")
    make_daily()
    for step in (FILES, CHAT, MAIL, WEBHOOK):
        run(DeliverReportsOperator(task_id=step, step=step))
    assert receiver.got == []
    assert rows(engine, "select 1 from mailbox") == []
    assert not (tmp_path / "reports").exists()
    assert {row["mode"] for row in rows(engine, "select mode from effects")} == {"capture"}


def test_what_somebody_else_is_sending_at_this_moment_is_not_waited_for(engine: Engine) -> None:
    make(engine, "leads")
    change(engine, "update effects set state = 'sending', lease_until = now() + interval '1 minute' where step = :step",
           step=MAIL)  # fmt: skip
    assert deliver(engine, LocalMailbox(engine), MAIL) == 0
    change(engine, "update effects set lease_until = now() - interval '1 second' where step = :step", step=MAIL)
    assert deliver(engine, LocalMailbox(engine), MAIL) == 0
    assert len(rows(engine, "select 1 from effects where step = :step and state = 'sent'", step=MAIL)) == 3
