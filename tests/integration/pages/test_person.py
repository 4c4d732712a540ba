"""The page of the person whom a case is about: counted for all, exported and erased by who acts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from tests.support.people import ADA, OF_ADA, lead, places_of
from tests.support.work import receive, rows

pytestmark = pytest.mark.airflow


@pytest.fixture
def ada(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A lead that was worked through."""
    monkeypatch.setenv("WAYBILL_EXPORT_FOLDER", str(tmp_path / "exports"))
    monkeypatch.setenv("WAYBILL_DATA_DOCS", str(tmp_path / "docs"))
    return lead(engine, ADA)[0]


def test_everybody_sees_counts_and_nobody_sees_values(ada: int, log_in: Any) -> None:
    for role in ("viewer", "op"):
        seen = log_in(role).text("/person", case=ada)
        assert '<th scope="row">leads</th>' in seen
        assert not [word for word in OF_ADA if word in seen.lower()]
    assert "Erase this person" in seen
    assert "Erase this person" not in log_in("viewer").text("/person", case=ada)
    assert log_in(None).get("/person", case=ada).status_code == 401


def test_an_export_is_a_download_and_leaves_an_event(engine: Engine, ada: int, log_in: Any) -> None:
    answer = log_in("op").submit(f"/person?case={ada}", "/person/export", case=ada)
    assert answer.status_code == 200
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    assert "no-store" in answer.headers["cache-control"]
    assert json.loads(answer.content)["held"]["leads"]["rows"][0]["last_name"] == "Lovelace"
    assert rows(engine, "select actor from events where kind = 'exported'") == [{"actor": "user:olga"}]
    assert "exported" in log_in("viewer").text("/person", case=ada)


def test_an_erasure_is_confirmed_has_a_reason_and_is_done_once(engine: Engine, ada: int, log_in: Any) -> None:
    op, page = log_in("op"), f"/person?case={ada}"
    for lacking in ({"reason": "letter 17"}, {"reason": " ", "confirmed": "yes"}):
        answer = op.submit(page, "/person/erase", case=ada, **lacking)
        refused = op.text(answer.headers["location"].removeprefix("/waybill"))
        assert '<p class="said bad" role="alert">Nothing was erased: ' in refused
    assert rows(engine, "select from erasures") == []
    for _ in range(2):
        answer = op.submit(page, "/person/erase", case=ada, reason="letter 17", confirmed="yes")
        assert answer.status_code == 303
    assert places_of(engine, OF_ADA) == []
    assert rows(engine, "select actor, reason from erasures") == [{"actor": "user:olga", "reason": "letter 17"}]
    assert "letter 17" in log_in("viewer").text("/person", case=ada)


@pytest.mark.parametrize("action", ["export", "erase"])
def test_who_may_only_look_and_forged_forms_are_refused(engine: Engine, ada: int, log_in: Any, action: str) -> None:
    fields = {"case": ada, "reason": "letter 17", "confirmed": "yes"}
    assert log_in("viewer").submit(f"/person?case={ada}", f"/person/{action}", **fields).status_code == 403
    assert log_in("op").post(f"/person/{action}", **fields).status_code == 403
    assert log_in(None).post(f"/person/{action}", **fields).status_code == 401
    assert rows(engine, "select from events where kind in ('exported', 'erased')") == []


def test_a_case_about_nobody_has_no_such_page(engine: Engine, log_in: Any) -> None:
    [bought] = receive(engine, 1, workflow="purchase_approval")
    assert log_in("op").get("/person", case=bought).status_code == 404
    assert log_in("op").get("/person", case=999).status_code == 404
