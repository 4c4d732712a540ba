"""Pictures of the ops pages of the running Waybill, for the docs: `make screenshots` after `make demo`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from fastapi.routing import APIRoute
from playwright.sync_api import Page, Response

from include.runtime import local
from include.runtime.environment import USER, Home
from tests.support.browser import browsing, log_in
from waybill.pages.app import app
from waybill.pages.rendering import PREFIX

FOLDER = Path(__file__).parents[2] / "docs" / "images"
HEIGHT = 1000
TALL = 1500
"""Pixels of a picture at most; what is below is cut off."""
LINES = "main tbody tr"
FIRST = "main tbody th a"
"""The first line of a list leads to what it is about."""
SECOND = "main tbody tr:nth-child(2) th a"
"""The newest purchase that is finished was rejected; the one before has goods and an invoice."""


@dataclass(frozen=True)
class Picture:
    """A page, and how one gets there.

    :param route: of the page, as the app has it.
    :param start: where the way begins, below `PREFIX`; at the page itself when left out.
    :param follow: the links that are followed from there, one after the other.
    :param shows: what the demo fills; without it there is nothing to see.
    :param who: the account that looks.
    """

    route: str
    start: str = ""
    follow: tuple[str, ...] = ()
    shows: str = LINES
    who: str = USER
    dark: bool = False
    phone: bool = False
    height: int = HEIGHT


APPROVAL = Picture("/approvals/{round_id}", "/approvals", (FIRST,), who="tom.berger", height=TALL)
CASE = Picture("/cases/{case_id}", "/cases?workflow=purchase_approval&state=finished", (SECOND,))
PICTURES = {
    "board": Picture("/board"),
    "board-dark": Picture("/board", dark=True),
    "board-phone": Picture("/board", phone=True),
    "cases": Picture("/cases"),
    "case": CASE,
    "person": Picture(
        "/person", "/cases?workflow=lead_to_client&state=finished", (FIRST, "text=What is known of the person")
    ),
    "alerts": Picture("/alerts"),
    "alert": Picture("/alerts/{alert_id}", "/alerts", ("main tbody a",)),
    "runbook": Picture("/runbooks/{kind}", "/alerts", ("main tbody a", "text=Runbook:"), shows="main article li"),
    "quarantine": Picture("/quarantine"),
    "quarantine-reason": Picture("/quarantine/{workflow}/{code}", "/quarantine", (FIRST,)),
    "quarantine-case": Picture("/quarantine/case/{case_id}", "/quarantine", (FIRST, FIRST), shows="main .field input"),
    "duplicates": Picture("/quarantine/duplicates"),
    "duplicate": Picture("/quarantine/duplicates/{pair_id}", "/quarantine/duplicates", (FIRST,)),
    "effects": Picture("/effects"),
    "effect": Picture("/effects/{effect_id}", CASE.start, (*CASE.follow, ".timeline .effect a"), shows="main pre"),
    "approvals": Picture("/approvals", who="olaf.winter"),
    "approval": APPROVAL,
    "approval-phone": replace(APPROVAL, phone=True),
    "deputies": Picture("/approvals/deputies", who="tom.berger"),
    "reports": Picture("/reports"),
    "report": Picture("/reports/{edition_id}", "/reports?report=leads&period=daily", (FIRST,)),
    "map": Picture("/map", shows="main .flow li"),
    "map-part": Picture("/map/{node_id}", "/map/system:crm", shows="main section li"),
    "health": Picture("/health", shows="main section:has(#runs) tbody tr"),
}
"""Name of a file of docs/images, after `page-` -> what is on it."""


class NothingToSee(Exception):
    """A page is not what its picture is to show."""


def main() -> None:
    """Take them all."""
    home = Home.from_environment()
    with browsing() as browser:

        @cache
        def seat(who: str, dark: bool, phone: bool) -> Page:
            password = local.admin_password(home) if who == USER else local.people_password(home)
            return log_in(browser, home.url, who, password, dark=dark, phone=phone)

        for name, picture in PICTURES.items():
            take(seat(picture.who, picture.dark, picture.phone), picture, file_of(name))
            print(file_of(name).relative_to(FOLDER.parents[1]))


@cache
def routes() -> dict[str, re.Pattern[str]]:
    """Return every page of the app, and which addresses are its, the first that fits before others."""
    return {
        route.path: route.path_regex for route in app.routes if isinstance(route, APIRoute) and "GET" in route.methods
    }


def file_of(name: str) -> Path:
    """Return where a picture is kept."""
    return FOLDER / f"page-{name}.png"


def take(page: Page, picture: Picture, file: Path) -> None:
    """Go there, and take the picture.

    :raises NothingToSee: when the page is another, refuses, or shows nothing.
    """
    answer = page.goto(f"{PREFIX}{picture.start or picture.route}")
    for link in picture.follow:
        if not page.locator(link).count():
            raise NothingToSee(f"{page.url} has no link {link!r} to follow: fill it with `make demo`.")
        with page.expect_navigation() as navigation:
            page.locator(link).first.click()
        answer = navigation.value
    _look(page, answer, picture)
    size = page.viewport_size
    assert size is not None
    height = page.evaluate("document.documentElement.getBoundingClientRect().height")
    size["height"] = min(picture.height, int(height))
    page.screenshot(path=file, full_page=True, clip={"x": 0, "y": 0, **size})


def _look(page: Page, answer: Response | None, picture: Picture) -> None:
    """Fail unless this is the page, and the demo's data are on it."""
    path = urlsplit(page.url).path.removeprefix(PREFIX)
    if picture.route != next((route for route, shape in routes().items() if shape.match(path)), None):
        raise NothingToSee(f"{page.url} is not {picture.route}.")
    if answer is None or answer.status != 200 or page.locator("main [role=alert]").count():
        raise NothingToSee(f"{page.url} refuses: {page.locator('main').inner_text()}")
    if not page.locator(picture.shows).count():
        raise NothingToSee(f"{page.url} shows nothing of {picture.shows!r}: fill it with `make demo`.")


if __name__ == "__main__":
    main()
