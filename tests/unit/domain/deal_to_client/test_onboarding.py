"""The template of the onboarding is complete, and a wrong one says what is wrong."""

from __future__ import annotations

import pytest
import yaml

from include.contracts.documents import DocumentError
from include.domain.deal_to_client import onboarding


def test_the_shipped_onboarding_begins_with_a_call():
    first = onboarding.onboarding().tasks[0]
    assert first.id == "welcome_call"
    assert first.due_hours == min(task.due_hours for task in onboarding.onboarding().tasks)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["tasks"][0].update(team="nobody"), "'nobody' is not a team"),
        (lambda content: content["tasks"].append(content["tasks"][0]), "'welcome_call' is declared twice"),
        (lambda content: content["tasks"][0].update(due_hours=0), "tasks.0.due_hours"),
        (lambda content: content["tasks"][0].update(colour="red"), "tasks.0.colour"),
    ],
)
def test_an_onboarding_that_cannot_work_says_why(tmp_path, change, message):
    content = yaml.safe_load(onboarding.FILE.read_text())
    change(content)
    file = tmp_path / "onboarding.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(DocumentError) as error:
        onboarding.load(file)
    assert message in str(error.value)
