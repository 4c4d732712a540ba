"""Reports leave by a signed webhook and into object stores, and the tasks say what was not taken."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from copy import copy
from datetime import UTC, datetime, timedelta
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
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.webhook import SecretUnusable, SignedWebhook, key_of, signed
from include.reporting.going_out import CHAT, FILES, MAIL, WEBHOOK, deliver
from include.reporting.intervals import Period
from tests.standins.serving import served
from tests.support.reports import at, files_of, lead, make
from tests.support.work import change, rows
from waybill.dags import reports_dag
from waybill.hooks.http import ConnectionUnusable
from waybill.operators.reports import DeliverReportsOperator, MakeReportOperator, ReportRefused
from waybill.reports import WebhookHook, report_files

pytestmark = pytest.mark.airflow

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """Keeps what it was sent, and answers with `status`."""

    def __init__(self) -> None:
        self.status = 200
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.app = FastAPI()

        @self.app.post("/hooks/{name}")
        async def take(name: str, request: Request) -> Response:
            self.got.append((dict(request.headers), await request.body()))
            return Response(name, status_code=self.status)


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


def run(operator: Any, **params: Any) -> Any:
    return operator.execute({"params": params, "run_id": "manual"})


def make_daily(report: str = "leads", moment: str = "2026-03-03T04:00:00+00:00", **params: Any) -> Any:
    operator = MakeReportOperator(task_id=report, report=report, period=Period.DAILY, moment=moment)
    return run(operator, **params)


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


def test_a_connection_without_a_good_secret_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = {"conn_type": "http", "host": "https://x.example/hooks", "password": "not base64!"}
    monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_WEBHOOK", json.dumps(connection))
    with pytest.raises(ConnectionUnusable, match="whsec_") as refused:
        webhook()
    assert "not base64!" not in str(refused.value)


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
