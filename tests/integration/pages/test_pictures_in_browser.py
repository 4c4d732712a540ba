"""A picture for the docs is of the page that it is to show, with something on it; else there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Engine

from tests.integration.pages.test_quarantine import aside
from tests.support.screenshots import FIRST, NothingToSee, Picture, take

pytestmark = [pytest.mark.airflow, pytest.mark.browser]

CASE = "/quarantine/case/{case_id}"


def test_a_page_is_taken_at_the_end_of_the_way_to_it(engine: Engine, sit_down: Any, tmp_path: Path) -> None:
    (case,) = aside(engine)
    page, file = sit_down().page, tmp_path / "case.png"
    take(page, Picture(CASE, "/quarantine", (FIRST, FIRST), shows="main form"), file)
    assert urlsplit(page.url).path == f"/waybill/quarantine/case/{case}"
    assert file.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("picture", "why"),
    [
        (Picture("/quarantine/duplicates"), "shows nothing of"),
        (Picture(CASE, "/quarantine/duplicates", (FIRST,)), "no link"),
        (Picture("/approvals/{round_id}", "/approvals/deputies"), "is not /approvals/{round_id}"),
        (Picture("/alerts"), "shows nothing of"),
    ],
)
def test_a_page_that_has_nothing_to_show_or_is_another_is_not_taken(
    sit_down: Any, tmp_path: Path, picture: Picture, why: str
) -> None:
    file = tmp_path / "none.png"
    with pytest.raises(NothingToSee) as refused:
        take(sit_down().page, picture, file)
    assert why in str(refused.value)
    assert not file.exists()


def test_a_page_that_refuses_is_not_taken(sit_down: Any, tmp_path: Path) -> None:
    olga, file = sit_down(), tmp_path / "none.png"
    with pytest.raises(NothingToSee, match="There is no such case"):
        take(olga.page, Picture("/cases/{case_id}", "/cases/999", shows="main"), file)
    assert not file.exists()
    olga.watched.problems.clear()  # the browser says on its console what the answer was
