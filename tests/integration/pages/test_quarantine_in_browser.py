"""Quarantine in a real browser: values checked as they are typed, many cases ticked at once, and without any script."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import Engine

from include.cases.model import Reason
from tests.integration.pages.test_quarantine import FAULTS, aside
from tests.standins.serving import served
from tests.support.browser import Watched, browsing
from tests.support.work import rows, states

pytestmark = [pytest.mark.airflow, pytest.mark.browser]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as browser:
        yield browser


@pytest.fixture
def address(log_in: Any) -> Iterator[str]:
    """Where the pages are served as Airflow's API server serves them; `log_in` sets the roles."""
    from waybill.pages.app import app

    assert log_in
    outside = FastAPI()
    outside.mount("/waybill", app)
    with served(outside) as address:
        yield address


def open_page(browser: Browser, address: str, path: str, **look: Any) -> Page:
    context = browser.new_context(base_url=address, **look)
    context.add_cookies([{"name": "who", "value": "olga:op", "url": address}])
    page = context.new_page()
    page.goto(f"/waybill{path}")
    return page


def test_a_value_is_checked_while_it_is_typed_and_then_released(engine: Engine, browser: Browser, address: str) -> None:
    (case,) = aside(engine)
    page = open_page(browser, address, f"/quarantine/case/{case}")
    watched = Watched(page)
    field = page.get_by_label("email", exact=True)
    field.fill("jane@example.co m")
    expect(page.locator("#verdict-email")).to_contain_text("✗ This is not an e-mail address")
    expect(field).to_have_attribute("aria-invalid", "true")
    field.fill("Jane <jane@example.com>")
    expect(page.locator("#verdict-email")).to_have_text("✓ This is read as jane@example.com.")
    expect(field).to_have_attribute("aria-invalid", "false")
    page.get_by_text("All other fields").click()
    page.get_by_label("phone", exact=True).fill("0911 1234567")
    expect(page.locator("#verdict-phone")).to_have_text("✓ This is read as +499111234567.")
    assert watched.barriers() == []
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("status").first).to_have_text(f"Case {case} is corrected (email, phone) and released.")
    assert watched.barriers() == []
    assert watched.problems == []
    assert states(engine)[case] == ("pending", "capture")
    assert [row["value"] for row in rows(engine, "select value from corrections order by field")] == [
        "Jane <jane@example.com>", "0911 1234567",
    ]  # fmt: skip
    page.context.close()


def test_all_cases_of_a_page_are_ticked_at_once_by_keyboard_and_discarded(
    engine: Engine, browser: Browser, address: str
) -> None:
    ids = aside(engine, 3)
    page = open_page(browser, address, "/quarantine/lead_to_client/email.invalid")
    watched = Watched(page)
    page.get_by_label("All of this page").focus()
    page.keyboard.press("Space")
    page.get_by_label("Discard: they are closed for good").check()
    page.get_by_label("Why they are discarded").fill("a robot")
    assert watched.barriers() == []
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").first).to_have_text("Discarded: 3.")
    assert {states(engine)[case][0] for case in ids} == {"rejected"}
    assert watched.problems == []
    page.context.close()


def test_everything_works_without_scripts(engine: Engine, browser: Browser, address: str) -> None:
    one, other = aside(engine, 2)
    page = open_page(browser, address, f"/quarantine/case/{one}", java_script_enabled=False)
    page.get_by_label("email", exact=True).fill("jane@example.com")
    page.get_by_role("button", name="Release").click()
    expect(page.get_by_role("status").first).to_contain_text("is corrected (email) and released")
    page.goto("/waybill/quarantine/lead_to_client/email.invalid")
    page.get_by_label(f"Case {other}").check()
    page.get_by_label("Release: they go through the workflow again").check()
    page.get_by_role("button", name="Do it").click()
    expect(page.get_by_role("status").first).to_have_text("Released: 1.")
    page.context.close()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_page_is_legible_and_fits_a_phone(engine: Engine, browser: Browser, address: str, dark: bool) -> None:
    reasons = [*FAULTS, Reason("lead.fields", "x" * 200, "message")]
    (case,) = aside(engine, reasons=reasons)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            """
            with c as (insert into directory_contacts (email, full_name) values
                       ('ada.of.the.very.long.name@example.org', 'Ada'), ('ada@byron.org', null) returning id)
            insert into possible_duplicates (contact_a, contact_b, case_id, score, evidence)
            select min(id::text)::uuid, max(id::text)::uuid, %s, 0.8, '{"name": "equal"}' from c""",
            (case,),
        )
    look = {"viewport": {"width": 390, "height": 844}, "color_scheme": "dark" if dark else "light"}
    for path in ("", f"/case/{case}", "/lead_to_client/email.invalid", "/duplicates", "/duplicates/1"):
        page = open_page(browser, address, f"/quarantine{path}", **look)
        watched = Watched(page)
        assert watched.barriers() == [], path
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, path
        page.context.close()
