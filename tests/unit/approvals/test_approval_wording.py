"""Whatever people write stays text, and Slack takes every message that is made of it."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.approvals import wording
from include.approvals.wording import Matter, Place
from tests.standins.slack import bad_blocks, bad_view

PLACE = Place(7, 2, "a" * 64)
NASTY = st.text(st.sampled_from("<>&!@#|`*_~\n\r\t \u202e\u2028\x07😀ab" + string.digits), max_size=300)


def matter(facts: list[tuple[str, str]], said: list[str]) -> Matter:
    return Matter("PR-1", "Anna", facts, said, ["because"], "https://waybill.example.com/dags/a/runs/b")


@given(text=NASTY | st.text(max_size=4_000), longest=st.integers(2, 3_000))
def test_escaped_text_is_never_longer_than_asked_and_holds_nothing_that_slack_acts_on(text: str, longest: int) -> None:
    found = wording.escaped(text, longest)
    assert len(found) <= longest
    assert not set(found) & set("<>`")
    for part in found.split("&")[1:]:
        assert part.startswith(("amp;", "lt;", "gt;")), "an entity was cut in two"


@settings(max_examples=60)
@given(
    facts=st.lists(st.tuples(NASTY, NASTY), max_size=60),
    said=st.lists(NASTY, max_size=12),
    outcome=st.lists(NASTY, max_size=4),
)
def test_slack_takes_every_message(facts: list[tuple[str, str]], said: list[str], outcome: list[str]) -> None:
    shown = matter(facts, said)
    for words in (
        wording.asked(shown, PLACE, reminder=True),
        wording.question(shown, PLACE, reminder=False),
        wording.over(shown, "Approved: PR-1", [f"By {line}" for line in outcome]),
    ):
        assert not bad_blocks(words.blocks)
        assert "\n" not in words.subject
        assert "<" not in words.text


@given(title=NASTY.map(lambda text: f"PR-1 {text}"), answer=st.sampled_from(["reject", "ask", "answer"]))
def test_slack_takes_every_form(title: str, answer: str) -> None:
    assert not bad_view(wording.form(answer, title, PLACE))


def test_a_second_line_of_a_value_cannot_pass_for_another_fact() -> None:
    words = wording.asked(matter([("Why", "new\n*Total:* 5.00 EUR")], []), PLACE, reminder=False)
    (section,) = [block["text"]["text"] for block in words.blocks if "*Why:*" in str(block)]
    assert section.splitlines() == ["*Why:*", "&gt; new", "&gt; *Total:* 5.00 EUR"]


def test_the_place_of_a_button_is_what_comes_back() -> None:
    assert Place.unpacked(PLACE.packed()) == PLACE
    assert len(PLACE.packed()) < 200


@pytest.mark.parametrize("value", ["[]", '{"r":1}', '{"r":1,"s":1,"d":"x"}', '{"r":0,"s":1,"d":"' + "a" * 64 + '"}'])
def test_another_value_is_none(value: str) -> None:
    with pytest.raises(ValueError, match="not a place"):
        Place.unpacked(value)
