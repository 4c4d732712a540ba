"""The labelled set is the same on every machine, and its labels mean what they say."""

from __future__ import annotations

from benchmarks.matching.corruptor import Corruptor
from benchmarks.matching.labelled import KINDS, World
from benchmarks.matching.train import monotone


def test_the_same_seed_makes_the_same_leads() -> None:
    assert World(3, 200).leads(300) == World(3, 200).leads(300)
    assert World(3, 200).leads(300) != World(4, 200).leads(300)


def test_the_corruptor_is_deterministic() -> None:
    person = World(3, 5).people[0]
    spoilt = [Corruptor(9).other_mailbox(Corruptor(9).misspelt(person)) for _ in range(3)]
    assert spoilt[0] == spoilt[1] == spoilt[2]


def test_every_kind_of_near_miss_is_there() -> None:
    world = World(3, 300)
    assert {found.kind for found in world.leads(800)} == set(KINDS)


def test_strangers_are_nobody_of_the_directory() -> None:
    world = World(3, 300)
    for found in world.leads(800):
        if found.kind in {"namesake", "subsidiary", "shared phone", "family", "colleague", "new"}:
            assert found.entity >= 300
    namesake = next(found for found in world.leads(800) if found.kind == "namesake")
    assert namesake.lead.name in {person.name for person in world.people}


def test_addresses_in_a_world_are_unique() -> None:
    addresses = [person.email_key for person in World(3, 3000).people]
    assert len(set(addresses)) == len(addresses)


def test_a_typing_error_changes_a_word_a_little() -> None:
    spoil = Corruptor(1)
    for _ in range(200):
        assert abs(len(spoil.typo("hamburger")) - 9) <= 1
    assert spoil.typo("ab") == "ab"


def test_levels_in_the_wrong_order_share_their_evidence() -> None:
    found = {name: m / u for name, m, u in monotone([("best", 0.2, 0.4), ("middle", 0.6, 0.1), ("worst", 0.2, 0.5)])}
    assert found["best"] == found["middle"] > found["worst"]
