"""The tasks of `person_data` and `retention`, and that no step's log or return value names anybody."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import Engine

from include.data import database
from include.samples.leads import FILE, samples
from tests.support.people import ADA, DEALS, OF_ADA, lead, places_of, walk
from tests.support.work import receive, rows

pytestmark = pytest.mark.airflow


@pytest.fixture(autouse=True)
def own_engine(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The tasks find the test's database by the environment, as they do in production."""
    monkeypatch.setenv("WAYBILL_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "development")
    database.engine.cache_clear()
    yield
    database.engine().dispose()
    database.engine.cache_clear()


def person_data(**params: Any) -> Any:
    """Run the task that a person triggers, with the form's defaults."""
    from waybill.operators.privacy import PersonDataOperator

    given = {"dry_run": True, "action": "export", "case_id": None, "email": None, "reason": None} | params
    context = {
        "params": given,
        "run_id": "manual__1",
        "dag_run": SimpleNamespace(triggering_user_name="olga"),
    }
    return PersonDataOperator(task_id="handle_request").execute(context)  # type: ignore[arg-type]


def test_a_dry_run_counts_by_table_and_changes_nothing(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    [ada] = lead(engine, ADA)
    before = places_of(engine, OF_ADA)
    found = person_data(case_id=ada, action="erase")
    assert found["values"] > 20
    assert found["dry_run"] is True
    assert "leads: 1 rows" in capsys.readouterr().out
    assert places_of(engine, OF_ADA) == before
    assert rows(engine, "select from events where kind in ('erased', 'exported')") == []


def test_an_export_returns_the_name_of_a_file_and_nothing_else(engine: Engine) -> None:
    lead(engine, ADA)
    found = person_data(email=ADA["email"], dry_run=False)
    assert set(found) == {"file", "rows"}
    assert not [word for word in OF_ADA if word in json.dumps(found)]


def test_an_erasure_can_be_tried_again(engine: Engine) -> None:
    [ada] = lead(engine, ADA)
    person_data(case_id=ada, dry_run=False)
    first = person_data(case_id=ada, action="erase", reason="letter 17", dry_run=False)
    again = person_data(case_id=ada, action="erase", reason="letter 17", dry_run=False)
    assert first["values"] > 20
    assert again == {"erasure": None, "values": 0, "closed": 0, "runs": None}
    from include.privacy.export import folder

    assert list(folder().iterdir()) == []


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({}, "say whom you mean"),
        ({"case_id": 1, "email": "ada@engines.example"}, "not both"),
        ({"case_id": 999}, "no case 999"),
        ({"email": "nobody"}, "cannot be an e-mail address"),
        ({"email": "nobody@nowhere.example", "dry_run": False}, "nothing is known"),
    ],
)
def test_what_cannot_be_done_says_why_and_is_not_tried_again(engine: Engine, params: dict[str, Any], why: str) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=why):
        person_data(**params)


def test_retention_and_the_crm_by_their_tasks(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from include.integrations.builtin.crm import BuiltinCrm
    from waybill import systems
    from waybill.operators.privacy import ApplyRetentionOperator, EraseInSystemsOperator

    monkeypatch.setattr(systems, "provider", lambda role: BuiltinCrm(engine))
    lead(engine, ADA)
    until = (datetime.now(UTC) + timedelta(days=800)).isoformat()
    task = ApplyRetentionOperator(task_id="apply_retention", until=until)
    tally = {"lead_to_client": {"deliveries": 1, "personal_data": 1}}
    for dry_run in (True, False):
        assert task.execute({"params": {"dry_run": dry_run}, "run_id": "r"}) == tally  # type: ignore[typeddict-item]
    assert EraseInSystemsOperator(task_id="erase_in_systems").execute({})["crm"]["sent"] == 1
    assert places_of(engine, OF_ADA) == []


def sample_people() -> list[str]:
    """The addresses, numbers and names of everybody in the samples, as text that a log could hold."""
    with FILE.open(encoding="utf-8", newline="") as file:
        people = list(csv.DictReader(file))
    values = {row[name].strip() for row in people for name in ("email", "phone", "full_name") if row[name]}
    return sorted(value for value in values if len(value) > 5)


def test_no_log_and_no_return_value_of_a_step_names_the_sample_people(
    engine: Engine, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Steps log as the standard library does, operators to the output."""
    told: list[Any] = []
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("sqlalchemy").setLevel(logging.WARNING)
        for sample in samples(60, mailing="m"):
            receive(engine, [sample.payload], source=sample.source)
        told += walk(engine)
        keys = rows(engine, "select deal_id::text as id from leads where deal_id is not null limit 10")
        receive(
            engine, [{"deal_key": row["id"], "stage": "won"} for row in keys], workflow="deal_to_client", source="crm"
        )
        told += walk(engine, "deal_to_client", DEALS)
        finished = rows(engine, "select id from cases where workflow = 'lead_to_client' and state = 'finished' limit 3")
        whom = {"email": rows(engine, "select email from leads where case_id = :id", id=finished[0]["id"])[0]["email"]}
        told.append(person_data(**whom, action="erase"))
        told.append(person_data(**whom, dry_run=False))
        told.append(person_data(case_id=finished[0]["id"], action="erase", reason="letter 17", dry_run=False))
    output = capsys.readouterr()
    logged = caplog.text + output.out + output.err
    assert len(finished) == 3, "the samples were worked through, so that there is something to look at"
    assert "leads: " in logged, "what the operators log was captured"
    assert "update_crm" in logged, "what the steps log was captured"
    people = sample_people()
    assert len(people) > 60
    assert [who for who in people if who.lower() in logged.lower()] == []
    assert [who for who in people if who.lower() in repr(told).lower()] == []


def test_no_event_of_the_steps_names_the_sample_people(engine: Engine) -> None:
    for sample in samples(60, mailing="m"):
        receive(engine, [sample.payload], source=sample.source)
    walk(engine)
    events = " ".join(row["text"] for row in rows(engine, "select e::text as text from events e"))
    assert [who for who in sample_people() if who in events] == []
