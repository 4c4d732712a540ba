"""Pictures of the ops pages of the running Waybill, for the docs: `make screenshots` after `make demo`."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

from include.runtime import local
from include.runtime.environment import USER, Home
from tests.support.browser import browsing, log_in
from waybill.pages.rendering import PREFIX, TABS

FOLDER = Path(__file__).parents[2] / "docs" / "images"
HEIGHT = 1000
"""Pixels of a picture; what is below is cut off."""
DETAILS = {
    "case": ("cases?workflow=purchase_approval&state=finished", 1),
    "quarantine-case": ("quarantine", 2),
    "duplicate": ("quarantine/duplicates", 1),
    "report": ("reports?report=leads&period=daily", 1),
}
"""Name of a picture -> the list to begin at, and how often the first line of a list is followed."""


def main() -> None:
    """Take them all."""
    home = Home.from_environment()
    with browsing() as browser:
        page = log_in(browser, home.url, USER, local.admin_password(home))
        page.set_viewport_size({"width": 1280, "height": HEIGHT})
        for path in TABS:
            page.goto(f"{PREFIX}/{path}")
            _take(page, path)
        for name, (path, steps) in DETAILS.items():
            page.goto(f"{PREFIX}/{path}")
            for _ in range(steps):
                with page.expect_navigation():
                    page.locator("tbody th a").first.click()
            _take(page, name)
        page.emulate_media(color_scheme="dark")
        page.goto(f"{PREFIX}/board")
        _take(page, "board-dark")


def _take(page: Page, name: str) -> None:
    page.screenshot(path=FOLDER / f"page-{name}.png")
    print(f"docs/images/page-{name}.png")


if __name__ == "__main__":
    main()
