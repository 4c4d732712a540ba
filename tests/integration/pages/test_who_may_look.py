"""Who sees the pages at all: an account that Airflow gives a role, and no other that merely could log in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
from airflow.api_fastapi.core_api.security import get_user
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import Engine

from tests.support.approvals import opened
from tests.support.work import rows
from waybill import data_docs, stock_pages
from waybill.pages.app import app
from waybill.pages.visitor import visitor

pytestmark = pytest.mark.airflow

OPEN_TO_ALL = {"/alive"}
"""For a monitor outside: it tells one word."""


def paths(of: FastAPI) -> list[str]:
    """Every address that can be looked at, with a number for whatever it is about."""
    found = [each.path for each in of.routes if isinstance(each, APIRoute) and "GET" in each.methods]
    return [re.sub(r"{\w+}", "1", path) for path in found if path not in OPEN_TO_ALL]


@pytest.fixture
def without_role(log_in: Any) -> Iterator[Any]:
    """Somebody who is logged in and has no role, at the two apps beside the ops pages."""
    assert log_in
    others = (data_docs.app, stock_pages.app)
    for other in others:
        other.dependency_overrides[get_user] = lambda: SimpleAuthManagerUser(username="nora", role=None)
    yield others
    for other in others:
        other.dependency_overrides.clear()


def test_an_account_without_a_role_sees_no_page(log_in: Any, without_role: Any) -> None:
    nora = log_in("", "nora")
    seen = {path: nora.get(path).status_code for path in paths(app)}
    assert len(seen) > 20
    assert set(seen.values()) == {403}, seen
    for other in without_role:
        seen = {path: TestClient(other).get(path).status_code for path in paths(other)}
        assert set(seen.values()) == {403}, seen
    assert "ask who runs Airflow for the role Viewer" in nora.get("/board").text


def test_whoever_is_asked_and_has_no_role_any_more_cannot_answer(engine: Engine, log_in: Any) -> None:
    one = opened(engine, "maria.keller")
    fields = {"answer": "approve", "digest": one.digest, "stage": one.stage}
    token = visitor(SimpleAuthManagerUser(username="maria.keller", role="user")).token
    assert log_in("", "maria.keller").post(f"/approvals/{one.id}", **fields, token=token).status_code == 403
    assert rows(engine, "select * from approval_decisions") == []


@pytest.mark.parametrize("role", ["viewer", "user", "op", "admin"])
def test_every_role_of_airflow_may_look(log_in: Any, role: str) -> None:
    for path in ("/board", "/approvals", "/cases"):
        assert log_in(role, "nora").get(path).status_code == 200
