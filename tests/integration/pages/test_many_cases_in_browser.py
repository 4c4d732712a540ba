"""The ops pages over 100,000 cases, in a real browser: they open, lists go on, and what somebody knows is found."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from sqlalchemy import Engine, text

from benchmarks.company import fill_cases
from waybill.pages.rendering import TABS

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.slow]

CASES = 100_000
LEAD, REQUEST, PURCHASE = CASES - 9, CASES - 4, CASES - 2
"""Three of the newest: a number's last digit tells its workflow (benchmarks/company.py)."""
LISTS = {
    "/cases": "Older ones",
    "/cases?state=quarantined": "Older ones",
    "/cases?state=late": "Older ones",
    "/cases?state=late_soon": "Older ones",
    "/quarantine/lead_to_client/email.invalid": "The next 50",
    "/quarantine/duplicates": "The next 50",
    "/effects?state=dead": "Older",
    "/alerts": "Older",
    "/approvals?show=all": "Further ones",
}


def listed(page: Page) -> list[str]:
    """What the rows of the last table of a page lead to."""
    links = page.locator("table").last.locator("tbody a").evaluate_all("found => found.map(each => each.pathname)")
    return [str(link) for link in links if re.search(r"/\d+$", link)]


def found(olga: Any, what: str) -> str:
    """What the search shows for it."""
    page = olga.open("/cases")
    page.get_by_label("Search", exact=True).fill(what)
    olga.press("Search")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    return str(page.locator("main").inner_text())


def test_a_hundred_thousand_cases_are_looked_through(engine: Engine, sit_down: Any) -> None:
    fill_cases(engine, CASES, events_a_case=2)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("analyze"))
    olga = sit_down()
    for path in TABS:
        olga.open(f"/{path}")
    page = olga.open("/board")
    expect(page.get_by_text("Every piece of work is accounted for.")).to_be_visible()
    assert re.search(r"received 50,000 = finished \d", page.locator("main").inner_text())
    for path, further in LISTS.items():
        first = listed(olga.open(path))
        page.get_by_role("link", name=further, exact=True).click()
        page.wait_for_url(lambda address: "before=" in address or "after=" in address)
        second = listed(page)
        assert first, path
        assert second, path
        assert not set(first) & set(second), path
    for what, shown in (
        (f"person{LEAD % (CASES * 2 // 5)}@example.com", f"\n{LEAD}\t"),
        (f"Company {LEAD % 5000} GmbH", f"\n{LEAD}\t"),
        (f"PR-{PURCHASE}", f"Case {PURCHASE}"),
        (f"SR-{REQUEST}", f"Case {REQUEST}"),
        (str(LEAD), f"Case {LEAD}"),
    ):
        assert shown in found(olga, what), what
    olga.finds_in_timeline(LEAD, "received", "system:steps")
