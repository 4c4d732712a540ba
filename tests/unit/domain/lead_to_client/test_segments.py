"""The decision table decides by the first rule that fits, and says what it means to say."""

from __future__ import annotations

import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from include.contracts.documents import DocumentError
from include.domain.lead_to_client import segments
from include.domain.lead_to_client.mail import TEMPLATES
from include.domain.letters import LANGUAGES

TABLE = segments.table()

leads = st.fixed_dictionaries(
    {
        "company_size": st.none() | st.integers(-1, 5_000) | st.sampled_from([49, 50, 249, 250, 999, 1000]),
        "score": st.none() | st.integers(0, 100),
        "country": st.none() | st.sampled_from(["DE", "US", "NO", "XX"]),
        "source": st.sampled_from(["website", "partner", "import"]),
        "interest": st.none() | st.sampled_from(["demo", " Pricing ", "PARTNER", "help", "weather", ""]),
    }
)


def decide(**lead):
    row = segments.decide(pd.DataFrame([lead])).iloc[0]
    return row["segment"], row["segment_rule"], row["sla_hours"]


def by_hand(lead):
    """The first rule that fits, looked at one by one."""
    for rule in TABLE.rules:
        for field, condition in rule.when.items():
            value = lead.get(field)
            if isinstance(condition, segments.Range):
                fits = condition.fits(value)
            else:
                fits = value is not None and value.strip().casefold() in TABLE.words(condition)
            if not fits:
                break
        else:
            return rule.id
    return TABLE.default.id


def small(**changes) -> segments.Table:
    """A table of two rules about the size, with changes."""
    content = {
        "segments": {
            "a": {"title": "A", "sla_hours": 1, "lifecycle_stage": "lead", "mail": "standard", "priority": "low"}
        },
        "rules": [
            {"id": "upper", "when": {"company_size": {"min": 10}}, "segment": "a", "because": "x"},
            {"id": "lower", "when": {"company_size": {"max": 9}}, "segment": "a", "because": "x"},
        ],
        "default": {"id": "rest", "segment": "a", "because": "x"},
    }
    return segments.Table.model_validate({**content, **changes})


def rule(name: str, when: dict, **more) -> dict:
    return {"id": name, "when": when, "segment": "a", "because": "x", **more}


def test_the_shipped_table_has_no_surprises():
    assert segments.faults(TABLE) == []


def test_every_segment_can_be_reached():
    reached = {row.segment for row in [*TABLE.rules, TABLE.default]}
    assert reached == set(TABLE.segments)


def test_every_segments_letter_exists_in_every_language():
    for segment in TABLE.segments.values():
        for language in LANGUAGES:
            assert (TEMPLATES / f"{segment.mail}.{language}.j2").is_file()


@pytest.mark.parametrize(
    ("lead", "expected"),
    [
        ({"company_size": 1000, "country": "DE"}, ("strategic", "very_large_in_a_core_market", 1)),
        ({"company_size": 1000, "country": "NO"}, ("enterprise", "large", 2)),
        ({"company_size": 250, "source": "partner"}, ("enterprise", "comes_from_a_partner_and_large", 2)),
        ({"company_size": 49, "interest": "Demo"}, ("small_business", "wants_to_buy", 8)),
        ({"interest": "quote"}, ("mid_market", "wants_to_buy_size_unknown", 4)),
        ({"company_size": 5000, "interest": "help"}, ("support", "support_question", 4)),
        ({"score": 70}, ("small_business", "well_scored", 8)),
        ({}, ("nurture", "none_of_the_above", 40)),
    ],
)
def test_leads_get_the_segment_that_the_table_says(lead, expected):
    assert decide(**lead) == expected


@given(st.lists(leads, min_size=1, max_size=40))
def test_all_at_once_is_as_one_by_one(batch):
    decided = segments.decide(pd.DataFrame(batch))
    assert decided["segment_rule"].tolist() == [by_hand(lead) for lead in batch]


@given(leads)
def test_every_lead_is_among_the_combinations_that_the_analysis_sees(lead):
    frame = pd.DataFrame([lead])
    columns = {name: segments._numbers(frame, name) for name in segments.NUMBERS}
    columns |= {name: segments._words(frame, name) for name in segments.WORDS}
    mask = sum(int(segments._fits(TABLE, entry, columns, 1)[0]) << number for number, entry in enumerate(TABLE.rules))
    assert mask in segments.combinations(TABLE)


def test_an_overlap_must_be_declared():
    rules = [rule("upper", {"company_size": {"min": 10}}), rule("lower", {"country": ["DE"]})]
    (fault,) = segments.faults(small(rules=rules))
    assert fault.startswith("lower: some leads fit upper above it too")
    rules[1]["overlaps"] = ["upper"]
    assert segments.faults(small(rules=rules)) == []


def test_a_declared_overlap_that_is_none_is_found():
    rules = [
        rule("upper", {"company_size": {"min": 10}}),
        rule("lower", {"company_size": {"max": 9}}, overlaps=["upper"]),
    ]
    assert segments.faults(small(rules=rules)) == [
        "lower: no lead can fit upper above it too; take upper out of its `overlaps`"
    ]


def test_a_rule_that_several_rules_above_cover_together_is_unreachable():
    rules = [
        rule("small", {"company_size": {"max": 49}}),
        rule("large", {"company_size": {"min": 50}}),
        rule("unknown", {"company_size": {"missing": True}}),
        rule("german", {"country": ["DE"]}, overlaps=["small", "large", "unknown"]),
    ]
    assert segments.unreachable(small(rules=rules)) == ["german", "rest"]


def test_whole_numbers_leave_no_gap_between_neighbouring_bounds():
    rules = [
        rule("upper", {"company_size": {"min": 10}}),
        rule("lower", {"company_size": {"max": 9}}),
        rule("unknown", {"company_size": {"missing": True}}),
    ]
    assert segments.unreachable(small(rules=rules)) == ["rest"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"default": None}, "default"),
        ({"rules": [rule("one", {"shoe_size": {"min": 4}})]}, "unknown field 'shoe_size'"),
        ({"rules": [rule("one", {"company_size": ["big"]})]}, "must be {min"),
        ({"rules": [rule("one", {"country": ["@moon"]})]}, "there is no group '@moon'"),
        ({"rules": [rule("one", {"company_size": {"min": 9, "max": 3}})]}, "min 9 is more than max 3"),
        ({"rules": [rule("one", {"country": ["DE"]}) | {"segment": "b"}]}, "there is no segment 'b'"),
        ({"rules": [rule("one", {"country": ["DE"]})] * 2}, "its id is used twice"),
    ],
)
def test_a_table_that_cannot_work_says_why(tmp_path, change, message):
    content = {**small().model_dump(exclude_defaults=True), **change}
    if change.get("default", "") is None:
        content.pop("default")
    file = tmp_path / "table.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(DocumentError, match=r"table\.yaml") as error:
        segments.load(file)
    assert message in str(error.value)
