"""A real browser for tests, installed already or now; where neither can be, the tests say why they did not run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, ViewportSize, expect, sync_playwright

from tests.standins.airflow import TOKEN
from waybill.pages.airflow_api import COOKIE

PACKAGES = ("chromium", "fonts-liberation")
"""Without the fonts, pages have others than on most machines."""
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip
DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
WCAG = {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}


def find_chromium(own: str) -> str:
    """Return the path of a Chromium, installed now where there is none yet.

    :param own: where Playwright keeps its own.
    """
    if found := _installed(own):
        return found
    tried = []
    apt = [["apt-get", "update", "-q"], ["apt-get", "install", "-qy", "--no-install-recommends", *PACKAGES]]
    for commands in (apt if os.geteuid() == 0 and shutil.which("apt-get") else [], [_BY_PLAYWRIGHT]):
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
            if done.returncode:
                tried.append(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-200:]}")
                break
        if found := _installed(own):
            return found
    pytest.skip("no Chromium is installed, and none could be: " + "; ".join(tried))


_BY_PLAYWRIGHT = [sys.executable, "-m", "playwright", "install", "chromium"]


def _installed(own: str) -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), own if Path(own).exists() else None)


@contextmanager
def browsing() -> Iterator[Browser]:
    """Start the browser."""
    with sync_playwright() as playwright:
        path = find_chromium(playwright.chromium.executable_path)
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A page, with everything that went wrong on it.

    :param problems: errors on the console, in scripts, and requests that left the machine.
    """

    page: Page
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Listen."""
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.problems.append(f"script: {error}"))
        self.page.on("request", self._asked)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.problems.append(f"console: {message.text}")

    def _asked(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in ("http", "https", "ws", "wss") and address.hostname not in ("127.0.0.1", "localhost"):
            self.problems.append(f"left the machine: {request.url}")

    def barriers(self, *rules: str) -> list[str]:
        """Return what keeps people from using the page, by axe-core and WCAG 2.1 AA, or by some rules of axe alone."""
        looked_at = {"type": "rule", "values": list(rules)} if rules else WCAG
        options = {"runOnly": looked_at, "resultTypes": ["violations"]}
        found = Axe().run(self.page, options=options).response["violations"]
        return [
            f"{violation['id']}: {violation['help']}: {node['html'][:200]}"
            for violation in found
            for node in violation["nodes"]
        ]

    def too_wide(self) -> int:
        """Return by how many pixels the page is wider than a phone."""
        before = self.page.viewport_size
        self.page.set_viewport_size(PHONE)
        width = int(self.page.evaluate("document.documentElement.scrollWidth"))
        self.page.set_viewport_size(before or DESK)
        return max(0, width - PHONE["width"])


class Seat:
    """Somebody who is logged in, at a browser of their own, on the ops pages."""

    def __init__(self, browser: Browser, address: str, who: str, **look: Any) -> None:
        """Sit down.

        :param who: account and role, as `tests.support.pages` has them: `olga:op`.
        """
        context = browser.new_context(base_url=address, **{"viewport": DESK, **look})
        cookies = {"who": who, COOKIE: TOKEN}
        context.add_cookies([{"name": name, "value": value, "url": address} for name, value in cookies.items()])
        self.page = context.new_page()
        self.watched = Watched(self.page)

    def open(self, path: str) -> Page:
        """Open a page below /waybill, which must be there."""
        answer = self.page.goto(f"/waybill{path}")
        assert answer is not None
        assert answer.status == 200, f"{path}: {answer.status}"
        return self.page

    def press(self, name: str) -> None:
        """Press a button by its name."""
        self.page.get_by_role("button", name=name, exact=True).click()

    def is_told(self, words: str) -> None:
        """Fail unless the page says this of what was done."""
        expect(self.page.locator(".said").first).to_contain_text(words)

    def can_use_the_page(self) -> None:
        """Fail when something on it keeps people from using it at a desk or on a phone, or it does not fit a phone.

        What is folded is unfolded first, for axe looks at nothing that is hidden.
        """
        self.page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
        for size, theme in ((DESK, "light"), (PHONE, "dark"), (PHONE, "light")):
            self.page.set_viewport_size(size)
            self.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            assert self.watched.barriers() == [], f"{self.page.url}, {size['width']} pixels wide, {theme}"
        self.page.set_viewport_size(DESK)
        assert self.watched.too_wide() == 0, self.page.url

    def finds_in_timeline(self, case_id: int, kind: str, actor: str = "user:olga") -> None:
        """Fail unless the case's page tells that somebody did this."""
        self.open(f"/cases/{case_id}")
        entry = self.page.locator(".timeline li", has=self.page.locator("strong").get_by_text(kind, exact=True))
        expect(entry.first).to_contain_text(f"by {actor}")

    def forges(self, path: str, **fields: str) -> int:
        """Send a form that no page made, with the cookies of this browser; return the status of the answer."""
        return self.page.request.post(f"/waybill{path}", form=fields, max_redirects=0).status

    def leave(self) -> None:
        """Close the browser; fail when anything went wrong on any page, or was asked of another machine."""
        self.page.context.close()
        assert self.watched.problems == []


def log_in(
    browser: Browser, base: str, account: str, password: str, *, dark: bool = False, phone: bool = False
) -> Page:
    """Return a page of somebody who has logged in as people do, with a browser of their own.

    :param phone: 390 by 844 pixels instead of 1280 by 900.
    """
    context = browser.new_context(
        viewport=PHONE if phone else DESK,
        color_scheme="dark" if dark else "light",
        base_url=base,
    )
    page = context.new_page()
    page.goto("/auth/login")
    page.get_by_label("Username").or_(page.locator("input[name=username]")).first.fill(account)
    page.get_by_label("Password").or_(page.locator("input[name=password]")).first.fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda address: "/auth/login" not in address)
    return page
