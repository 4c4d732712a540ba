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
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run"]  # fmt: skip
WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}


def find_chromium(own: str) -> str:
    """Return the path of a Chromium, installed now where there is none yet.

    :param own: where Playwright keeps its own.
    """
    if found := _installed(own):
        return found
    tried = []
    apt = [["apt-get", "update", "-q"], ["apt-get", "install", "-qy", "--no-install-recommends", "chromium"]]
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

    def barriers(self) -> list[str]:
        """Return what keeps people from using the page, by axe-core and WCAG 2.1 AA."""
        found = Axe().run(self.page, options=WCAG).response["violations"]
        return [
            f"{violation['id']}: {violation['help']}: {node['html'][:200]}"
            for violation in found
            for node in violation["nodes"]
        ]


def log_in(
    browser: Browser, base: str, account: str, password: str, *, dark: bool = False, phone: bool = False
) -> Page:
    """Return a page of somebody who has logged in as people do, with a browser of their own.

    :param phone: 390 by 844 pixels instead of 1280 by 900.
    """
    context = browser.new_context(
        viewport={"width": 390, "height": 844} if phone else {"width": 1280, "height": 900},
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
