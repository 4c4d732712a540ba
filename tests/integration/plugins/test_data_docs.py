"""The Data Docs behind Airflow's login."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from include.data.validation import documents

PAGE = "20261121T100000000000Z-leads-run.html"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    from waybill.data_docs import app

    monkeypatch.setenv("WAYBILL_DATA_DOCS", str(tmp_path / "docs"))
    (tmp_path / "docs" / documents.PAGES).mkdir(parents=True)
    (tmp_path / "docs" / documents.PAGES / PAGE).write_text("<p>a page</p>")
    (tmp_path / "docs" / documents.PAGES / "secret.txt").write_text("secret")
    (tmp_path / "secret.html").write_text("secret")
    return TestClient(app)


@pytest.fixture
def logged_in(client: TestClient) -> TestClient:
    from airflow.api_fastapi.app import init_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user

    from waybill.data_docs import app

    init_auth_manager()
    app.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="vera", role="viewer")
    yield client  # type: ignore[misc]
    app.dependency_overrides.clear()


@pytest.mark.parametrize("path", ["/", "/index.html", f"/validations/{PAGE}"])
def test_nobody_reads_a_page_without_logging_in(client: TestClient, path: str) -> None:
    answer = client.get(path)
    assert answer.status_code == 401
    assert "a page" not in answer.text


def test_a_page_is_served_so_that_it_can_run_and_load_nothing(logged_in: TestClient) -> None:
    answer = logged_in.get(f"/validations/{PAGE}")
    assert answer.text == "<p>a page</p>"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


def test_before_the_first_validation_the_index_says_so(logged_in: TestClient) -> None:
    assert "No batch has been validated yet" in logged_in.get("/").text


@pytest.mark.parametrize(
    "name",
    ["secret.txt", "..%2f..%2fsecret.html", "..%252f..%252fsecret.html", "%2e%2e/secret.html", "a%00b", ".html",
     "20261121T100000000001Z-leads-run.html", f"{PAGE}%0a", "..\\..\\secret.html"],
)  # fmt: skip
def test_no_other_file_can_be_asked_for(logged_in: TestClient, name: str) -> None:
    answer = logged_in.get(f"/validations/{name}")
    assert answer.status_code == 404
    assert "secret" not in answer.text.replace("secret.", "")


def test_no_page_is_changed_from_outside(logged_in: TestClient) -> None:
    assert logged_in.put(f"/validations/{PAGE}").status_code == 405
    assert logged_in.get("/openapi.json").status_code == 404
