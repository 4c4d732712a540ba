"""Every ops page has a picture in the docs, and a command that takes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.screenshots import FOLDER, PICTURES, file_of, routes

pytestmark = pytest.mark.airflow

WITHOUT = {
    "/": "leads to the board",
    "/alive": "is for machines",
    "/effects/all": "asks for a number to be confirmed, of effects in trouble, and the demo has none",
    "/reports/{edition_id}/{kind}": "is a document to take along",
}
"""Pages without a picture, and why."""
DOCS = FOLDER.parent


def test_every_page_has_a_picture() -> None:
    assert len(routes()) > 20
    assert {picture.route for picture in PICTURES.values()} == set(routes()) - set(WITHOUT)


def test_every_picture_is_there_and_shown_in_the_docs() -> None:
    taken = {file_of(name) for name in PICTURES}
    shown = {found for page in DOCS.rglob("*.md") for found in _pictures(page) if found.name.startswith("page-")}
    assert shown == taken == set(FOLDER.glob("page-*.png"))


def _pictures(page: Path) -> set[Path]:
    text = page.read_text(encoding="utf-8")
    return {page.parent / link for link in re.findall(r'(?:!\[[^\]]*\]\(|<img src=")([^)"]+)', text)}
