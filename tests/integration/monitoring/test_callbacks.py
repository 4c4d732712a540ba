"""Airflow's callbacks with the contexts that Airflow itself builds, and the messages read at a Slack stand-in.

One Airflow home on SQLite per module; `dag.test()` runs a DAG with a task broken on purpose, in a fork of a process
that has imported Airflow.
"""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import URL, Engine

from tests.standins.slack import TOKEN, Slack
from tests.support.work import change, rows
from tests.support.zygote import Zygote, zygote

ROOT = Path(__file__).parents[3]
Airflow = Callable[..., str]
pytestmark = pytest.mark.airflow


BROKEN_DAG = """
from datetime import datetime
from airflow.sdk import DAG, task
from waybill.notifiers import DAG_CALLBACKS, DEFAULT_CALLBACKS

with DAG("broken_on_purpose", schedule=None, start_date=datetime(2026, 1, 1), default_args=DEFAULT_CALLBACKS,
         **DAG_CALLBACKS) as dag:
    @task
    def breaks():
        raise ValueError("jane.doe@example.com is not a number")
    breaks()
"""
REFUSED_DAG = """
from datetime import datetime
from airflow.sdk import DAG, task
from waybill.notifiers import DAG_CALLBACKS, DEFAULT_CALLBACKS
from waybill.operators.reports import ReportRefused

with DAG("refused_on_purpose", schedule=None, start_date=datetime(2026, 1, 1), default_args=DEFAULT_CALLBACKS,
         **DAG_CALLBACKS) as dag:
    @task(retries=3)
    def refuses():
        raise ReportRefused("no", reasons=[f"Reason {number}." for number in range(1, 11)], touches="The readers.")
    refuses()
"""
LATE_DAG = """
from datetime import datetime
from airflow.sdk import DAG, task

# without its deadline, which `dag.test()` of Airflow 3.3.2 cannot read back
with DAG("late_on_purpose", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    @task
    def waits(): ...
    waits()
"""
CANARY_DAG = """
from datetime import datetime
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException
from waybill.notifiers import on_canary_failure

with DAG("waybill_canary", schedule=None, start_date=datetime(2026, 1, 1)) as dag:
    @task(on_failure_callback=on_canary_failure, retries=4)
    def fail_on_purpose():
        raise AirflowFailException("on purpose")
    fail_on_purpose()
"""
BREAK = """
from broken_on_purpose import dag
dag.test()
"""


MIGRATE = """
from airflow.utils.db import upgradedb
upgradedb()
"""


@pytest.fixture(scope="module")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """A process with Airflow, on a database and DAGs of its own."""
    home = tmp_path_factory.mktemp("airflow")
    (home / "dags").mkdir()
    (home / "dags" / "broken_on_purpose.py").write_text(BROKEN_DAG)
    (home / "dags" / "refused_on_purpose.py").write_text(REFUSED_DAG)
    (home / "dags" / "late_on_purpose.py").write_text(LATE_DAG)
    (home / "dags" / "canary_alone.py").write_text(CANARY_DAG)
    (home / "migrate.py").write_text(MIGRATE)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "WAYBILL"))},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__UNIT_TEST_MODE": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "plugins"), str(home / "dags"))),
        "WAYBILL_BASE_URL": "https://waybill.example.com",
    }
    with zygote(home, environment) as forks:
        _run(forks, home / "migrate.py", {})
        yield forks


def _run(forks: Zygote, script: Path, extra: dict[str, str]) -> str:
    code, output = forks.run(script, extra)
    assert code == 0, output[-9000:]
    return output


@pytest.fixture
def airflow(airflow_home: Zygote, database_url: URL, slack: Slack, tmp_path: Path) -> Airflow:
    """Run Python code with Airflow, Waybill's database, and a Slack API connection to the stand-in."""
    connection = {"conn_type": "slack", "password": TOKEN, "extra": {"base_url": slack.api}}

    def run(code: str, **extra: str) -> str:
        script = tmp_path / "scenario.py"
        script.write_text(textwrap.dedent(code))
        return _run(
            airflow_home,
            script,
            {
                "WAYBILL_DATABASE_URL": database_url.render_as_string(hide_password=False),
                "WAYBILL_ENVIRONMENT": "production",
                "AIRFLOW_CONN_WAYBILL_CHAT": json.dumps(connection),
                "AIRFLOW_CONN_WAYBILL_MAIL": "smtp://mail.example.com",
                "AIRFLOW_CONN_WAYBILL_AIRFLOW": "http://watcher:secret@127.0.0.1:9",
                **extra,
            },
        )

    return run


DELIVER = """
    from include.data.database import engine
    from waybill.alert_delivery import look_and_publish
    from include.integrations import ledger
    from waybill.alert_hooks import slack_api
    look_and_publish()
    print(ledger.deliver(engine(), slack_api("waybill_chat"), system="chat"))
"""


def test_a_task_broken_on_purpose_is_read_at_slack(airflow: Airflow, engine: Engine, slack: Slack) -> None:
    output = airflow(BREAK + textwrap.dedent(DELIVER))
    (message,) = slack.messages
    for part in ("step “breaks” failed", "ValueError", "The task breaks of broken_on_purpose failed", "Runbook"):
        assert part in message.whole
    assert "https://waybill.example.com/dags/broken_on_purpose/runs/" in message.text
    assert "/tasks/breaks" in message.text
    assert message.channel == "C-waybill-alerts"
    assert "jane" not in message.whole
    assert rows(engine, "select kind, count from alerts") == [{"kind": "task_failed", "count": 1}]
    assert rows(engine, "select * from alert_problems") == []
    assert TOKEN not in output


def test_an_error_that_is_worded_for_people_is_told_with_its_reasons(
    airflow: Airflow, engine: Engine, slack: Slack
) -> None:
    airflow("from refused_on_purpose import dag\ndag.test()\n" + textwrap.dedent(DELIVER))
    (message,) = slack.messages
    assert "failed: ReportRefused." in message.text, "at the first try"
    assert " Reason 1. Reason 2. " in message.text
    assert "Reason 8. And 2 more." in message.text
    assert "Touches: The readers." in message.text


def test_a_webhook_connection_works_as_well(airflow: Airflow, slack: Slack) -> None:
    code = BREAK + textwrap.dedent(DELIVER).replace("slack_api", "slack_webhook")
    connection = json.dumps({"conn_type": "slackwebhook", "password": slack.webhook})
    output = airflow(code, AIRFLOW_CONN_WAYBILL_CHAT=connection)
    (message,) = slack.messages
    assert "ValueError" in message.whole
    assert slack.webhook not in output


def caught() -> str:
    """The connection as docker-compose.yaml presets it."""
    environment = yaml.safe_load((ROOT / "docker-compose.yaml").read_text())["x-airflow"]["environment"]
    return str(environment["AIRFLOW_CONN_WAYBILL_MAIL"])


@pytest.mark.parametrize("mail", [None, caught()], ids=["no connection", "the mail catcher"])
def test_a_production_without_its_second_route_is_told_and_gets_nothing_built_in(
    airflow: Airflow, engine: Engine, slack: Slack, mail: str | None
) -> None:
    without = "" if mail else 'import os; del os.environ["AIRFLOW_CONN_WAYBILL_MAIL"]'
    code = f"""
        {without}
        from include.data.database import engine
        from waybill.alert_delivery import look_and_publish, tell_by_chat, tell_by_mail
        look_and_publish()
        print(tell_by_chat())
        with engine().begin() as connection:
            connection.exec_driver_sql("update effects set state = 'dead', error = 'x', sent_at = null, answer = null")
        print(tell_by_mail())
    """
    assert "'written': 1, 'sent': 0" in airflow(code, **({"AIRFLOW_CONN_WAYBILL_MAIL": mail} if mail else {}))
    (message,) = slack.messages
    assert "The connection waybill_mail is missing or refused" in message.whole
    assert rows(engine, "select * from mailbox") == []


def test_the_canary_is_told_as_what_it_is_and_found_again_by_its_run(
    airflow: Airflow, engine: Engine, slack: Slack
) -> None:
    code = BREAK.replace("broken_on_purpose", "canary_alone") + textwrap.dedent(DELIVER)
    output = airflow(
        code
        + textwrap.dedent("""
            from sqlalchemy import text
            from waybill.alert_delivery import canary_arrived, canary_concluded
            with engine().connect() as connection:
                run = connection.execute(text("select run_id from alert_occurrences")).scalar().partition("/")[2]
            print(canary_arrived(run), canary_concluded(run))
        """)
    )
    assert "True {'arrived': True}" in output
    assert "Daily test of the alerts" in slack.messages[0].whole
    assert rows(engine, "select kind, state from alerts") == [{"kind": "canary", "state": "resolved"}]


def test_the_watchdog_tells_by_itself_and_fires_when_tasks_run_again(
    airflow: Airflow, engine: Engine, slack: Slack
) -> None:
    signs = "('look', now() - interval '9 minutes'), ('watchdog', now())"
    change(engine, f"insert into life_signs (part, at) values {signs}")
    output = airflow(
        """
            import asyncio
            from datetime import timedelta
            from include.data.database import engine
            from include.monitoring.watching import watch
            from waybill.watching import WatchdogTrigger

            watch.silent_after = lambda: timedelta(minutes=4)

            async def watching():
                async for event in WatchdogTrigger(every=0.3).run():
                    return event.payload

            async def look_again():
                while not await asyncio.to_thread(told):
                    await asyncio.sleep(0.2)
                with engine().begin() as connection:
                    connection.exec_driver_sql("update life_signs set at = now() where part = 'look'")

            def told():
                with engine().connect() as connection:
                    return connection.exec_driver_sql(
                        "select count(*) from effects where system = 'chat' and state = 'sent'").scalar()

            async def both():
                return await asyncio.gather(watching(), look_again())

            print(asyncio.run(both())[0])
        """
    )
    assert "{'tasks': 'run again'}" in output
    told = [one.whole for one in slack.messages if "The look for trouble from a task is silent" in one.whole]
    assert ["Recovered" in whole for whole in told] == [True, True], "in place, and to call people back"
    assert rows(engine, "select state, count from alerts where kind = 'airflow_silent'") == [
        {"state": "resolved", "count": 1}
    ]


def test_a_context_without_exception_and_without_run_still_alerts(airflow: Airflow, engine: Engine) -> None:
    """The contexts of the DAG processor, built as it builds them: a killed task, a run that timed out, no last task."""
    airflow(
        """
            import uuid
            from broken_on_purpose import dag
            from unittest.mock import create_autospec
            import structlog
            from airflow.callbacks.callback_requests import DagCallbackRequest, TaskCallbackRequest
            from airflow.dag_processing import processor
            from airflow.dag_processing.dagbag import DagBag

            bag = create_autospec(DagBag, instance=True)
            bag.dags = {dag.dag_id: dag}
            log = structlog.get_logger()
            common = {"filepath": "x.py", "bundle_name": "dags", "bundle_version": None}
            ti = {"id": str(uuid.uuid4()), "task_id": "breaks", "dag_id": dag.dag_id, "run_id": "killed",
                  "try_number": 2, "dag_version_id": str(uuid.uuid4()), "map_index": -1}
            processor._execute_task_callbacks(bag, TaskCallbackRequest(ti=ti, msg="killed", **common), log)
            for reason in ("timed_out", "task_failure"):
                processor._execute_dag_callbacks(
                    bag, DagCallbackRequest(dag_id=dag.dag_id, run_id=reason, msg=reason, **common), log)
        """
    )
    found = rows(engine, "select kind, cause, facts->>'run_id' as run from alerts order by id")
    assert found == [
        {"kind": "task_failed", "cause": "", "run": "killed"},
        {"kind": "run_failed", "cause": "timed_out", "run": "timed_out"},
        {"kind": "run_failed", "cause": "task_failure", "run": "task_failure"},
    ]
    assert rows(engine, "select * from alert_problems") == []


def test_a_callback_that_comes_after_the_look_has_told_its_run_tells_nothing_anew(
    airflow: Airflow, engine: Engine
) -> None:
    airflow(
        """
            from broken_on_purpose import dag
            from include.data.database import engine
            from include.monitoring.alerts.messages import Kind
            from include.monitoring.alerts.raising import Alerts, Trouble
            from include.monitoring.watching.runs import UNTOLD
            from waybill.notifiers import on_run_failure

            Alerts(engine()).raise_alert(
                Trouble(Kind.RUN_FAILED, dag.dag_id, "x", cause=UNTOLD, dag_id=dag.dag_id, run_id="late"))
            for run_id in ("late", "another"):
                on_run_failure({"dag": dag, "run_id": run_id, "reason": "timed_out"})
        """
    )
    assert rows(engine, "select cause, count, facts->>'run_id' as run from alerts order by id") == [
        {"cause": "untold", "count": 1, "run": None},
        {"cause": "timed_out", "count": 1, "run": "another"},
    ]


def test_a_missed_deadline_comes_through_both_routes_and_counts_once(airflow: Airflow, engine: Engine) -> None:
    """The scheduler's own code makes the context; the triggerer's and the worker's own code make the calls."""
    airflow("""
        import asyncio, json
        from datetime import datetime, timedelta, timezone
        from late_on_purpose import dag
        from waybill.notifiers import deadline
        from airflow.models.deadline import Deadline
        from airflow.sdk.execution_time.callback_supervisor import execute_callback
        from airflow.triggers.callback import CallbackTrigger
        from airflow.utils.session import create_session
        from sqlalchemy import select
        import structlog
        dag.test()
        with create_session() as session:
            from airflow.models import DagRun
            run = session.scalars(select(DagRun).where(DagRun.dag_id == dag.dag_id)).one()
            run.state = "failed"
            session.flush()
            contexts = []
            for alert in deadline("lead_to_client", timedelta(hours=1)):
                missed = Deadline(deadline_time=datetime.now(timezone.utc), callback=alert.callback, dagrun_id=run.id,
                                  deadline_alert_id=None, dag_id=dag.dag_id)
                session.add(missed); session.flush()
                missed.handle_miss(session)
                session.flush(); session.expire(missed.callback)
                contexts.append((missed.callback.data["path"], missed.callback.data["kwargs"]))
            session.rollback()
        (async_path, async_kwargs), (sync_path, sync_kwargs) = contexts

        async def run_trigger():
            return [event async for event in CallbackTrigger(async_path, async_kwargs).run()]

        events = asyncio.run(run_trigger())
        assert events[-1].payload["state"] == "success", events
        assert execute_callback(sync_path, sync_kwargs, "x.py", None, structlog.get_logger()) == (True, None)
    """)
    (alert,) = rows(engine, "select kind, workflow, cause, count, facts from alerts")
    assert (alert["kind"], alert["workflow"], alert["cause"], alert["count"]) == (
        "deadline_missed",
        "lead_to_client",
        "failed",
        1,
    )
    assert alert["facts"]["dag_id"] == "late_on_purpose"
    text_of = rows(engine, "select payload->>'text' as text from effects")[0]["text"]
    assert "not slow, but over" in text_of
    assert rows(engine, "select * from alert_problems") == []


def test_a_callback_never_raises_and_its_failure_is_counted(airflow: Airflow, engine: Engine) -> None:
    change(engine, "alter table alerts rename to alerts_away")
    airflow(BREAK)
    problems: list[dict[str, Any]] = rows(engine, "select part, error from alert_problems order by id")
    assert problems[0]["part"] == "on_task_failure"
    assert "ProgrammingError" in problems[0]["error"]


def test_a_database_that_is_away_does_not_reach_the_task(airflow: Airflow) -> None:
    output = airflow(
        BREAK,
        WAYBILL_DATABASE_URL="postgresql://127.0.0.1:9/none",
    )
    assert "on_task_failure failed: OperationalError" in output
