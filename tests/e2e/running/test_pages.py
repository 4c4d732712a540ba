"""The ops pages in a real browser, in a running Airflow: legible, reachable, quiet, closed to who may not act."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from include.runtime import local
from include.runtime.environment import USER, VIEWER
from tests.support.browser import Watched, browsing, log_in
from tests.support.mix import known_mix
from tests.support.stack import Waybill
from waybill.pages.rendering import PREFIX, TABS

pytestmark = [pytest.mark.airflow, pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser(waybill: Waybill) -> Iterator[Browser]:
    """A browser, and some leads to look at."""
    waybill.send(known_mix(20, seed=51).bodies)
    waybill.settle()
    with browsing() as browser:
        yield browser


def admin(waybill: Waybill, browser: Browser, **look: bool) -> Page:
    return log_in(browser, waybill.home.url, USER, local.admin_password(waybill.home), **look)


def test_every_page_can_be_used_by_everybody_and_asks_nobody_else(waybill: Waybill, browser: Browser) -> None:
    """In the dark; light, and on a phone, they are looked at without an Airflow."""
    page = admin(waybill, browser, dark=True)
    watched = Watched(page)
    for path, name in TABS.items():
        page.goto(f"{PREFIX}/{path}")
        assert page.get_by_role("heading", level=1).is_visible(), path
        assert page.get_by_role("link", name=name, exact=True).get_attribute("aria-current") == "page"
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert watched.barriers() == [], path
    assert watched.problems == []
    page.context.close()


def test_the_board_is_in_airflow_s_navigation_and_in_its_theme(waybill: Waybill, browser: Browser) -> None:
    page = admin(waybill, browser)
    page.goto("/plugin/waybill-board")
    frame = page.frame_locator("iframe")
    frame.get_by_text("Every piece of work is accounted for").wait_for()
    assert frame.get_by_text("DEVELOPMENT · effects are sent").is_visible()
    assert frame.get_by_role("heading", name="Lead to client").first.is_visible()
    page.context.close()


def test_whoever_may_only_look_sees_the_pages_and_changes_nothing(waybill: Waybill, browser: Browser) -> None:
    page = log_in(browser, waybill.home.url, VIEWER, local.people_password(waybill.home))
    for path in TABS:
        answer = page.goto(f"{PREFIX}/{path}")
        assert answer is not None
        assert answer.status == 200, path
    page.context.close()


def test_the_keyboard_reaches_the_content_first(waybill: Waybill, browser: Browser) -> None:
    page = admin(waybill, browser)
    page.goto(f"{PREFIX}/board")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.context.close()
