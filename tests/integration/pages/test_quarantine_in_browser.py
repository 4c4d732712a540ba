"""Quarantine in a real browser: values checked as they are typed, cases ticked at once, pairs decided, no script."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect
from sqlalchemy import Engine

from include.cases.model import Reason
from tests.integration.pages.test_quarantine import aside, pair  # noqa: F401 - a fixture
from tests.support.work import rows, states

pytestmark = [pytest.mark.airflow, pytest.mark.browser]

REASON = "/quarantine/lead_to_client/email.invalid"


def test_a_value_is_checked_while_it_is_typed_and_then_released(engine: Engine, sit_down: Any) -> None:
    (case,) = aside(engine)
    olga = sit_down()
    page = olga.open(f"/quarantine/case/{case}")
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
    olga.can_use_the_page()
    olga.press("Release")
    olga.is_told(f"Case {case} is corrected (email, phone) and released.")
    olga.can_use_the_page()
    assert states(engine)[case] == ("pending", "capture")
    assert [row["value"] for row in rows(engine, "select value from corrections order by field")] == [
        "Jane <jane@example.com>", "0911 1234567",
    ]  # fmt: skip
    olga.finds_in_timeline(case, "corrected")
    expect(page.get_by_text("jane@example → Jane <jane@example.com>")).to_be_visible()
    olga.finds_in_timeline(case, "released")


def test_a_case_is_discarded_with_a_reason(engine: Engine, sit_down: Any) -> None:
    (case,) = aside(engine)
    olga = sit_down()
    page = olga.open(f"/quarantine/case/{case}")
    page.get_by_label("Why it is discarded").fill("a joke")
    olga.press("Discard for good")
    olga.is_told(f"Case {case} is discarded.")
    expect(page.get_by_text("It is not set aside, so there is nothing to resolve.")).to_be_visible()
    olga.finds_in_timeline(case, "rejected")
    expect(page.locator(".timeline").get_by_text("a joke").first).to_be_visible()


def test_all_cases_of_a_page_are_ticked_at_once_by_keyboard_and_discarded(engine: Engine, sit_down: Any) -> None:
    ids = aside(engine, 3)
    olga = sit_down()
    page = olga.open(REASON)
    page.get_by_label("All of this page").focus()
    page.keyboard.press("Space")
    page.get_by_label("Discard: they are closed for good").check()
    page.get_by_label("Why they are discarded").fill("a robot")
    olga.can_use_the_page()
    page.keyboard.press("Enter")
    olga.is_told("Discarded: 3.")
    assert {states(engine)[case][0] for case in ids} == {"rejected"}
    for case in ids:
        olga.finds_in_timeline(case, "rejected")


def test_a_telephone_number_is_checked_again_when_the_country_changes(engine: Engine, sit_down: Any) -> None:
    (case,) = aside(engine, reasons=[Reason("phone.invalid", "?", "phone"), Reason("country.unknown", "?", "country")])
    page = sit_down().open(f"/quarantine/case/{case}")
    page.get_by_label("phone", exact=True).fill("089 1234567")
    expect(page.locator("#verdict-phone")).to_have_text("✓ This is read as +49891234567.")
    page.get_by_label("country", exact=True).fill("AT")
    expect(page.locator("#verdict-country")).to_have_text("✓ This is read as AT.")
    expect(page.locator("#verdict-phone")).not_to_contain_text("+4989")


def test_the_value_of_many_cases_is_checked_while_it_is_typed(engine: Engine, sit_down: Any) -> None:
    ids = aside(engine, 2, reasons=[Reason("country.unknown", "“Gx” is no country.", "country")])
    olga = sit_down()
    page = olga.open("/quarantine/lead_to_client/country.unknown")
    page.get_by_label("All of this page").check()
    page.get_by_label("Release: they go through the workflow again").check()
    value, verdict = page.get_by_role("textbox", name="Value"), page.locator("#verdict-value")
    value.fill("Gx")
    expect(verdict).to_have_text("")
    page.get_by_label("with the same value in all of them").select_option("country")
    expect(verdict).to_contain_text("✗ This is not a country")
    expect(value).to_have_attribute("aria-invalid", "true")
    olga.can_use_the_page()
    value.fill("Austria")
    expect(verdict).to_have_text("✓ This is read as AT.")
    olga.press("Do it")
    olga.is_told("Released: 2.")
    assert [row["case_id"] for row in rows(engine, "select case_id from corrections order by case_id")] == ids


def test_the_cases_of_a_reason_are_gone_through_one_after_the_other(engine: Engine, sit_down: Any) -> None:
    first, second = aside(engine, 2)
    olga = sit_down()
    page = olga.open(REASON)
    page.get_by_role("link", name=str(first), exact=True).click()
    olga.press("Release")
    olga.is_told(f"Case {first} is released.")
    olga.can_use_the_page()
    page.get_by_role("link", name=f"Next of this reason: case {second}").click()
    page.get_by_label("Why it is discarded").fill("a joke")
    olga.press("Discard for good")
    olga.is_told(f"Case {second} is discarded.")
    page.get_by_role("link", name="email.invalid").click()
    expect(page.get_by_text("Nothing is set aside for this reason.")).to_be_visible()


def test_all_cases_of_a_reason_are_released_when_their_number_is_confirmed(engine: Engine, sit_down: Any) -> None:
    ids = aside(engine, 2)
    olga = sit_down()
    page = olga.open(REASON)
    page.get_by_label("All 2 of this reason").check()
    page.get_by_label("Release: they go through the workflow again").check()
    page.get_by_label("For all of them").fill("2")
    olga.press("Do it")
    olga.is_told("Released: 2.")
    olga.can_use_the_page()
    assert {states(engine)[case] for case in ids} == {("pending", "capture")}
    olga.finds_in_timeline(ids[0], "released")


def test_everything_works_without_scripts(engine: Engine, sit_down: Any) -> None:
    one, other = aside(engine, 2)
    page = sit_down(java_script_enabled=False).open(f"/quarantine/case/{one}")
    page.get_by_label("email", exact=True).fill("jane@example.com")
    page.get_by_role("button", name="Release").click()
    expect(page.locator(".said")).to_contain_text("is corrected (email) and released")
    page.goto(f"/waybill{REASON}")
    page.get_by_label(f"Case {other}").check()
    page.get_by_label("Release: they go through the workflow again").check()
    page.get_by_role("button", name="Do it").click()
    expect(page.locator(".said")).to_have_text("Released: 1.")


def test_a_pair_is_merged_kept_apart_and_both_taken_back(engine: Engine, sit_down: Any, pair: int) -> None:  # noqa: F811
    olga = sit_down()
    page = olga.open("/quarantine")
    page.get_by_role("link", name="Possible duplicates").click()
    page.get_by_role("link", name=str(pair), exact=True).click()
    for button, said in (
        ("Merge", "is merged"),
        ("Undo the merge", "is two people again"),
        ("Keep apart", "is kept apart"),
        ("Open the question again", "is open again"),
    ):
        olga.press(button)
        olga.is_told(f"Pair {pair} {said}")
    (case,) = rows(engine, "select case_id as id from possible_duplicates")
    for kind in ("merged", "merge undone", "kept apart", "keep apart undone"):
        olga.finds_in_timeline(case["id"], kind)
