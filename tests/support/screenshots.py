"""Pictures of every ops page of the running Waybill, for the docs: `make screenshots` after `make demo`."""

from __future__ import annotations

from pathlib import Path

from include.runtime import local
from include.runtime.environment import USER, Home
from tests.support.browser import browsing, log_in
from waybill.pages.rendering import PREFIX, TABS

FOLDER = Path(__file__).parents[2] / "docs" / "images"
HEIGHT = 1000
"""Pixels of a picture; what is below is cut off."""


def main() -> None:
    """Take them all."""
    home = Home.from_environment()
    with browsing() as browser:
        page = log_in(browser, home.url, USER, local.admin_password(home))
        for path in TABS:
            page.goto(f"{PREFIX}/{path}")
            page.set_viewport_size({"width": 1280, "height": HEIGHT})
            page.screenshot(path=FOLDER / f"page-{path}.png")
            print(f"docs/images/page-{path}.png")


if __name__ == "__main__":
    main()
