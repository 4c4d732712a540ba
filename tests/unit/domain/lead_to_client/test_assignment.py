"""Leads are shared out fairly, by place, presence and room, and nobody is left without an owner."""

from __future__ import annotations

from collections import Counter as Count
from datetime import UTC, date, datetime, timedelta

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from include.contracts.documents import DocumentError
from include.domain.lead_to_client import assignment
from include.domain.lead_to_client.assignment import Candidate, Counter, Desk, Place, Roster

NOW = datetime(2026, 11, 20, 10, tzinfo=UTC)


def team(capacities: dict[str, int], absent: tuple[str, ...] = ()) -> Roster:
    """A roster of one market with one territory, led by `chief`, who takes no turn."""
    away = {"from": date(2026, 11, 1), "until": date(2026, 11, 30), "because": "away"}
    people = {
        name: {
            "name": name, "email": f"{name}@example.com", "country": "DE", "capacity": capacity,
            "absences": [away] if name in absent else [],
        }
        for name, capacity in {"chief": 1, **capacities}.items()
    }  # fmt: skip
    territory = {"id": "all", "members": list(capacities)}
    market = {"title": "All", "countries": ["DE"], "lead": "chief", "territories": [territory]}
    return Roster.model_validate({"default_market": "all", "people": people, "markets": {"all": market}})


def hand_out(desk: Desk, number: int, contacts=lambda number: None) -> list[assignment.Assignment]:
    return [desk.assign(Candidate(case, Place("DE"), contacts(case))) for case in range(number)]


@given(st.integers(1, 8), st.integers(0, 200))
def test_equal_capacity_means_a_difference_of_at_most_one(members, leads):
    desk = Desk(team({f"p{number}": 1000 for number in range(members)}), NOW)
    got = Count(given.person for given in hand_out(desk, leads))
    shares = [got[f"p{number}"] for number in range(members)]
    assert sum(shares) == leads
    assert max(shares) - min(shares) <= 1


@given(st.integers(2, 6), st.lists(st.integers(1, 30), min_size=1, max_size=6))
def test_it_stays_fair_over_many_batches_and_days(members, batches):
    roster = team({f"p{number}": 1000 for number in range(members)})
    counters: dict[str, Counter] = {}
    got: Count[str] = Count()
    for day, size in enumerate(batches):
        desk = Desk(roster, NOW + timedelta(days=day), counters)
        today = Count(given.person for given in hand_out(desk, size))
        shares = [today[f"p{number}"] for number in range(members)]
        assert max(shares) - min(shares) <= 1
        got += today
    shares = [got[f"p{number}"] for number in range(members)]
    assert max(shares) - min(shares) <= 1


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 20), min_size=1), st.integers(0, 100))
def test_nobody_gets_more_than_their_capacity_and_nothing_is_left(capacities, leads):
    given = hand_out(Desk(team(capacities), NOW), leads)
    got = Count(one.person for one in given)
    assert len(given) == leads
    assert all(got[name] <= capacity for name, capacity in capacities.items())
    assert got["chief"] == max(0, leads - sum(capacities.values()))


def test_shares_follow_capacity():
    got = Count(given.person for given in hand_out(Desk(team({"full": 100, "half": 50}), NOW), 90))
    assert got == {"full": 60, "half": 30}


def test_who_is_absent_gets_nothing():
    given = hand_out(Desk(team({"here": 100, "away": 100}, absent=("away",)), NOW), 10)
    assert {one.person for one in given} == {"here"}


@pytest.mark.parametrize(
    ("moment", "absent"),
    [
        (datetime(2026, 10, 31, 22, 59, tzinfo=UTC), False),
        (datetime(2026, 10, 31, 23, 1, tzinfo=UTC), True),
        (datetime(2026, 11, 30, 22, 59, tzinfo=UTC), True),
        (datetime(2026, 11, 30, 23, 1, tzinfo=UTC), False),
    ],
)
def test_an_absence_begins_and_ends_by_the_persons_own_clock(moment, absent):
    assert team({"p": 1}, absent=("p",)).people["p"].is_absent(moment) is absent


def test_when_everybody_is_away_the_market_lead_takes_it():
    (given,) = hand_out(Desk(team({"away": 100}, absent=("away",)), NOW), 1)
    assert (given.person, given.how) == ("chief", "market_lead")


def test_a_returning_lead_keeps_its_owner_even_when_that_one_has_no_room():
    desk = Desk(team({"a": 1, "b": 100}), NOW, owners={"c1": "a"})
    given = hand_out(desk, 3, contacts=lambda _: "c1")
    assert {(one.person, one.how) for one in given} == {("a", "earlier_owner")}


def test_while_the_owner_is_away_somebody_stands_in_and_does_not_become_the_owner():
    desk = Desk(team({"a": 100, "b": 100}, absent=("a",)), NOW, owners={"c1": "a"})
    (given,) = hand_out(desk, 1, contacts=lambda _: "c1")
    assert (given.person, given.how) == ("b", "stand_in")
    assert desk.owners["c1"] == "a"


def test_an_owner_who_has_left_is_replaced():
    desk = Desk(team({"a": 100}), NOW, owners={"c1": "gone"})
    (given,) = hand_out(desk, 1, contacts=lambda _: "c1")
    assert (given.person, given.how) == ("a", "turn")


def test_two_leads_of_one_contact_in_a_batch_get_one_owner():
    desk = Desk(team({"a": 100, "b": 100, "c": 100}), NOW)
    given = hand_out(desk, 9, contacts=lambda case: f"contact {case % 3}")
    for contact in range(3):
        assert len({one.person for one in given if one.case_id % 3 == contact}) == 1


@pytest.mark.parametrize(
    ("place", "market", "territory"),
    [
        (Place("DE", postal_code="80331"), "dach", "dach_south"),
        (Place("DE", postal_code="10115"), "dach", "dach_rest"),
        (Place("CH"), "dach", "dach_alps"),
        (Place("US", region="california"), "north_america", "america_west"),
        (Place("US", region="NY"), "north_america", "america_rest"),
        (Place("JP"), "international", "international_all"),
        (Place(None), "international", "international_all"),
    ],
)
def test_places_belong_to_territories(place, market, territory):
    name, part = assignment.roster().locate(place)
    assert (name, part.id) == (market, territory)


def test_a_task_is_due_in_the_business_hours_of_its_owner():
    friday_evening = datetime(2026, 11, 20, 20, tzinfo=UTC)
    people = assignment.roster().people
    assert assignment.due(friday_evening, 2, people["jonas.weber"]) == datetime(2026, 11, 23, 10, tzinfo=UTC)
    assert assignment.due(friday_evening, 2, people["emma.reyes"]) == datetime(2026, 11, 20, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["markets"]["all"].update(lead="ghost"), "'ghost' is not among `people`"),
        (lambda c: c["markets"]["all"]["territories"][0].update(countries=["DE"]), "must take the rest"),
        (lambda c: c.update(default_market="moon"), "default_market 'moon' is no market"),
        (lambda c: c["people"]["a"].update(zone="Europe/Atlantis"), "there is no time zone 'Europe/Atlantis'"),
        (lambda c: c["people"]["a"].update(capacity=0), "greater than 0"),
        (
            lambda c: c["people"]["a"].update(
                absences=[{"from": date(2026, 2, 2), "until": date(2026, 1, 1), "because": "x"}]
            ),
            "before it begins",
        ),
    ],
)
def test_a_roster_that_cannot_work_says_why(tmp_path, change, message):
    content = team({"a": 1}).model_dump(by_alias=True)
    change(content)
    file = tmp_path / "owners.yaml"
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(DocumentError) as error:
        assignment.load(file)
    assert message in str(error.value)
