"""Clusters: who is put together, and who never is."""

from __future__ import annotations

from itertools import pairwise
from uuid import UUID

import pytest

from include.data.matching.model import COMPARISONS, parameters
from include.data.matching.people import Person
from include.data.matching.resolve import Clusters, keys_of, same_by_key
from include.data.matching.thresholds import POSSIBLE, SAME

A, B = UUID(int=1), UUID(int=2)


def test_uniting_is_transitive() -> None:
    clusters = Clusters()
    for node in (1, 2, 3, 4):
        clusters.add(node)
    assert clusters.unite(1, 2)
    assert clusters.unite(3, 4)
    assert clusters.unite(2, 3)
    assert sorted(clusters.members(1), key=str) == [1, 2, 3, 4]


def test_two_contacts_are_never_united_not_even_by_a_detour() -> None:
    clusters = Clusters()
    clusters.add(A, A)
    clusters.add(B, B)
    clusters.add(1)
    clusters.add(2)
    assert clusters.unite(1, A)
    assert clusters.unite(2, B)
    assert not clusters.unite(1, 2)
    assert (clusters.contact(1), clusters.contact(2)) == (A, B)


def test_a_cluster_takes_over_the_contact_of_either_side() -> None:
    clusters = Clusters()
    clusters.add(A, A)
    for node in (1, 2):
        clusters.add(node)
    clusters.unite(1, 2)
    clusters.unite(A, 2)
    assert clusters.contact(1) == A


def test_keys_are_the_address_and_the_senders_id() -> None:
    assert keys_of(Person(1, email_key="a@x.de", external="web/7")) == [("email", "a@x.de"), ("external_id", "web/7")]
    assert keys_of(Person(1)) == []


@pytest.mark.parametrize(("address", "same"), [("info@x.de", False), ("anna@x.de", True)])
def test_a_function_address_is_shared_by_people_with_other_names(address: str, same: bool) -> None:
    one = Person(1, email_key=address, first_name="Anna", last_name="Meier")
    other = Person(2, email_key=address, first_name="Jo", last_name="Kim")
    assert same_by_key("email", one, other) is same


def test_the_trained_model_knows_every_level_and_never_prefers_less_agreement() -> None:
    trained = parameters()["levels"]
    assert set(trained) == set(COMPARISONS)
    for name, levels in COMPARISONS.items():
        ratios = [trained[name][level.name][0] / trained[name][level.name][1] for level in levels[1:]]
        assert all(better >= worse * 0.999 for better, worse in pairwise(ratios)), name


def test_a_question_needs_less_than_a_merge() -> None:
    assert 0 < POSSIBLE < SAME < 1
