"""Which of Airflow's runs name a person, because somebody typed them into a form: asked over its API."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sqlalchemy import Engine

from include.privacy.person import by_case
from tests.support.people import ADA, lead

pytestmark = pytest.mark.airflow

FORMS: list[dict[str, Any]] = [
    {"dag_id": "lead_import", "dag_run_id": "manual__1", "conf": {"rows": "email\nADA.Lovelace@engines.example"}},
    {"dag_id": "lead_import", "dag_run_id": "manual__2", "conf": {"rows": "email\nada.lovelace@engines.example.org"}},
    {"dag_id": "person_data", "dag_run_id": "manual__3", "conf": {"email": "ada.lovelace@engines.example"}},
    {"dag_id": "lead_replay", "dag_run_id": "manual__4", "conf": {"corrections": {"email": "ben@engines.example"}}},
]


def airflow(runs: list[dict[str, Any]]) -> httpx.Client:
    """A client of an Airflow that has these runs, and answers a page of them at a time."""

    def answer(request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        assert (request.url.path, asked["conf_contains"]) == ("/api/v2/dags/~/dagRuns", "@")
        start, most = int(asked["offset"]), int(asked["limit"])
        return httpx.Response(200, json={"dag_runs": runs[start : start + most]})

    return httpx.Client(base_url="http://airflow.example", transport=httpx.MockTransport(answer))


def test_runs_are_found_by_any_spelling_of_the_address_and_only_whole_ones(engine: Engine) -> None:
    from waybill.typed import PAGE, runs_naming

    [ada] = lead(engine, ADA)
    with engine.connect() as connection:
        person = by_case(connection, ada)
    others = [{"dag_id": "lead_import", "dag_run_id": f"m{n}", "conf": {"rows": "a@b.example"}} for n in range(PAGE)]
    assert runs_naming(airflow([*others, *FORMS]), person) == ["lead_import/manual__1", "person_data/manual__3"]


def test_what_is_left_to_do_is_said_in_a_sentence() -> None:
    from waybill.typed import MOST_TOLD, told

    assert told([]) == ""
    assert "could not be asked" in told(None)
    assert told(["lead_import/manual__1"]).endswith("delete these runs there: lead_import/manual__1.")
    assert told([f"lead_import/{n}" for n in range(MOST_TOLD + 2)]).endswith("and 2 more.")
