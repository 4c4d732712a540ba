"""The ops pages as an account of Airflow sees them: the real app, and the roles of Airflow's own auth manager.

Only the login is left out, for it needs Airflow's database; a cookie says who somebody is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import unescape
from typing import Any

import httpx
import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from include.data import database
from tests.standins.airflow import TOKEN
from waybill.pages.airflow_api import COOKIE

GLANCE = "All workflows at a glance"
"""The caption of the board's first table."""


class Browser:
    """A person who is logged in, without a real browser: pages, and forms that carry the page's token."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def get(self, path: str, **params: Any) -> httpx.Response:
        """Open a page below /waybill."""
        answer: httpx.Response = self._client.get(path, params=params or None)
        return answer

    def text(self, path: str, **params: Any) -> str:
        """Return a page that must be there."""
        answer = self.get(path, **params)
        assert answer.status_code == 200, answer.text
        return answer.text

    def submit(self, page: str, path: str, **fields: Any) -> httpx.Response:
        """Load a page, and submit a form with its token and what it says was seen; the answer is that of the action."""
        return self.post(path, **{**hidden(self.text(page)), **fields})

    def post(self, path: str, **fields: Any) -> httpx.Response:
        """Submit a form as another site would, without a token; or that of a page that was opened before, `hidden`."""
        answer: httpx.Response = self._client.post(path, data=fields, follow_redirects=False)
        return answer


def hidden(page: str) -> dict[str, str]:
    """What the forms of a page carry that nobody types: their token, and what stands for what was seen."""
    return {name: unescape(value) for name, value in re.findall(r'name="(token|seen)" value="([^"]+)"', page)}


def column_of(html: str, caption: str, heading: str) -> list[str]:
    """Return the cells below a heading, in the table of that caption."""
    found = re.search(rf"<caption[^>]*>{re.escape(caption)}</caption>(.*?)</table>", html, re.DOTALL)
    assert found, f"no table {caption!r}"
    head, *lines = [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", line, re.DOTALL)]
        for line in re.findall(r"<tr>(.*?)</tr>", found.group(1), re.DOTALL)
    ]
    return [line[head.index(heading)] for line in lines]


@contextmanager
def pages_of(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serve the pages on a database; call what is given with a role and a name to have somebody log in.

    The empty role is that of an account without any, and None that of a stranger.
    """
    from airflow.api_fastapi.app import init_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from airflow.api_fastapi.core_api.security import get_user, resolve_user_from_token

    from include.monitoring.views.board import Books
    from waybill.pages import board
    from waybill.pages.app import app

    async def who(request: Request) -> Any:
        name, _, role = request.cookies.get("who", "").partition(":")
        return SimpleAuthManagerUser(username=name, role=role) if name else await resolve_user_from_token(None)

    def log_in(role: str | None, name: str = "olga") -> Browser:
        cookies = {"who": f"{name}:{role}", COOKIE: TOKEN} if role is not None else {}
        return Browser(TestClient(app, root_path="/waybill", cookies=cookies))

    monkeypatch.setenv("WAYBILL_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setattr(board, "_books", Books())
    database.engine.cache_clear()
    init_auth_manager()
    app.dependency_overrides[get_user] = who
    try:
        yield log_in
    finally:
        app.dependency_overrides.clear()
        database.engine().dispose()
        database.engine.cache_clear()
