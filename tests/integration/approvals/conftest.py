"""People of the samples whom a test may change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy import Engine

from include.approvals import people
from tests.standins import slack
from tests.support.slack_office import Office, office
from waybill.slack_actions import APP, HOST, SECRET, TEAM


@pytest.fixture
def edit_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Change entries of one person, as somebody who edits people.yaml while rounds are open."""
    copy = tmp_path / "people.yaml"
    copy.write_text(people.FILE.read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setenv(people.VARIABLE, str(copy))

    def edit(person: str, **entries: Any) -> None:
        document = yaml.safe_load(copy.read_text(encoding="utf-8"))
        document["people"][person] |= entries
        copy.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")

    return edit


@pytest.fixture
def desk(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """An office whose people are asked in Slack."""
    with office(engine) as opened:
        for name, value in {
            "WAYBILL_EFFECT_MODE": "live",
            "WAYBILL_BASE_URL": "https://waybill.example.com",
            SECRET: opened.slack.secret,
            HOST: opened.slack.host,
            TEAM: slack.TEAM,
            APP: slack.APP,
        }.items():
            monkeypatch.setenv(name, value)
        yield opened
