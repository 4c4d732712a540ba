"""The search in a real browser: one comes back from a hit to the hits, as from any other list."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import Engine

from tests.integration.pages.test_cases import ANNA, normalised

pytestmark = [pytest.mark.airflow, pytest.mark.browser]


def test_back_from_a_hit_are_the_hits(engine: Engine, sit_down: Any) -> None:
    cases = normalised(engine, ANNA, {**ANNA, "id": "form-8"})
    olga = sit_down()
    page = olga.open("/cases")
    page.get_by_label("Search", exact=True).fill(ANNA["email"])
    olga.press("Search")
    hits = [page.get_by_role("link", name=str(case), exact=True) for case in cases]
    for _ in range(2):
        hits[0].click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(f"Case {cases[0]}")
        page.go_back()
        for hit in hits:
            expect(hit).to_be_visible()
        expect(page.get_by_label("Search", exact=True)).to_have_value(ANNA["email"])
        page.reload()
    assert "keller" not in page.url.lower()
