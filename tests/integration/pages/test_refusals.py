"""What cannot be is said on a page to people, and in JSON to whoever asks for something else."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import unquote

import pytest
from fastapi.testclient import TestClient

pytestmark = pytest.mark.airflow

A_PAGE = {"accept": "text/html,application/xhtml+xml"}


def plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html.partition("<main")[2]).split())


def client(who: str = "") -> TestClient:
    from waybill.pages.app import app

    cookies = {"who": who} if who else {}
    return TestClient(app, root_path="/waybill", cookies=cookies, headers=A_PAGE, raise_server_exceptions=False)


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/cases/999", 404, "There is no such case."),
        ("/cases/x", 422, "cannot be read"),
        ("/effects?state=nonsense", 422, "cannot be read"),
        ("/cases?state=%00", 422, "cannot be read"),
        ("/effects/99999999999999999999", 404, "There is no such effect."),
        ("/nowhere", 404, "There is nothing here"),
    ],
)
def test_what_is_not_there_is_said_on_a_page(log_in: Any, path: str, status: int, said: str) -> None:
    answer = client("olga:op").get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "text/html; charset=utf-8")
    assert said in plain(answer.text)
    assert "Content-Security-Policy" in answer.headers
    assert log_in("op").get(path).headers["content-type"] == "application/json"


def test_a_stranger_is_led_to_the_login_and_back(log_in: Any) -> None:
    assert log_in
    answer = client().get("/board")
    assert answer.status_code == 401
    assert re.search(r'href="/api/v2/auth/login\?next=http[^"]+board"', answer.text)


@pytest.mark.parametrize(
    ("form", "came_from", "back"),
    [
        ("/effects", "http://testserver/waybill/effects?state=dead", "/waybill/effects?state=dead"),
        ("/effects", "http://elsewhere/waybill/effects?state=dead", "/waybill/effects"),
        ("/effects", "http://testserver/dags", "/waybill/effects"),
        ("/quarantine/case/7/release", "http://testserver/waybill/quarantine/case/7", "/waybill/quarantine/case/7"),
        ("/quarantine/case/7/release", "http://testserver/waybill/quarantine/case/7/release", "/waybill/quarantine"),
        ("/person/erase", "http://testserver/waybill/person?case=7", "/waybill/person?case=7"),
        ("/person/erase", "", "/waybill/board"),
    ],
)
def test_whose_login_ended_while_they_filled_in_a_form_is_led_back_to_its_page(
    log_in: Any, form: str, came_from: str, back: str
) -> None:
    assert log_in
    answer = client().post(form, data={"reason": "a joke"}, headers={"referer": came_from})
    assert answer.status_code == 401
    link = re.search(r'href="/api/v2/auth/login\?next=([^"]+)"', answer.text)
    assert link
    assert unquote(link[1]) == f"http://testserver{back}"


def test_whoever_may_not_act_is_told_so(log_in: Any) -> None:
    assert log_in
    answer = client("vera:viewer").post("/effects/1", data={"action": "retry"})
    assert answer.status_code == 403
    assert "Your role may look, and not change anything" in plain(answer.text)


def test_a_page_that_is_broken_says_so_and_nothing_of_what_broke(log_in: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from waybill.pages import board

    def broken(*_: object) -> None:
        raise RuntimeError("password=secret")

    assert log_in
    monkeypatch.setattr(board, "board", broken)
    answer = client("olga:op").get("/board")
    assert answer.status_code == 500
    assert "This page is broken" in plain(answer.text)
    assert "secret" not in answer.text
