"""The matrix: whom it asks and why, and what is wrong with it before anybody is asked."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.approvals import policy
from include.approvals.people import FILE, People, Person
from include.approvals.people import load as load_people
from include.approvals.policy import Matrix, Routing, Unroutable, explain, load, problems, route
from include.contracts.documents import DocumentError

PEOPLE = load_people(FILE)
FACTS: dict[str, list[Any]] = {
    "cost_centre_owner": ["maria.keller", "tom.berger", "olaf.winter"],
    "new_supplier": [],
    "over_budget": [],
    "risk": ["low", "high"],
    "category": ["software", "hardware", "travel"],
}
MATRIX = """
    currency: EUR
    otherwise: role:board
    bands:
      - {id: small, below: 250, by_rule: true}
      - {id: team, from: 250, below: 5000, stages: [{who: manager, within: 8h}]}
      - id: unit
        from: 5000
        below: 25000
        stages: [{who: manager, within: 16h}, {who: fact:cost_centre_owner, within: 16h}]
      - id: company
        from: 25000
        stages:
          - {who: manager, within: 24h}
          - {who: fact:cost_centre_owner, within: 24h}
          - {who: role:finance_director, within: 24h}
          - {who: role:board, needed: 2, within: 24h}
    tables:
      - id: travel
        when: {category: travel}
        bands: [{id: trips, stages: [{who: [manager, role:finance], needed: all, within: 4h}]}]
    also:
      - {id: new_supplier, when: {new_supplier: true}, who: role:procurement, within: 8h, place: first}
      - {id: over_budget, when: {over_budget: true}, who: role:finance, within: 8h, place: first}
      - {id: risk, when: {risk: high}, who: person:tom.berger, within: 8h}
      - {id: software, when: {category: [software], amount: {from: 10000}}, who: person:tom.berger, within: 16h}
"""


def matrix(tmp_path: Path, document: str = MATRIX) -> Matrix:
    file = tmp_path / "policy.yaml"
    file.write_text(dedent(document), encoding="utf-8")
    return load(file)


def facts(amount: int | str, **more: Any) -> dict[str, Any]:
    usual = {"new_supplier": False, "over_budget": False, "risk": "low", "category": "hardware"}
    return {"amount": Decimal(amount), "cost_centre_owner": "maria.keller", **usual, **more}


def seats(routing: Routing) -> list[tuple[list[str], int]]:
    return [(list(stage.seats), stage.needed) for stage in routing.stages]


class TestRouting:
    @pytest.mark.parametrize(
        ("amount", "asked"),
        [
            ("249.99", []),
            ("250", ["maria.keller"]),
            ("4999.99", ["maria.keller"]),
            ("5000", ["maria.keller"]),
        ],
    )
    def test_begins_a_band_with_its_first_amount(self, tmp_path: Path, amount: str, asked: list[str]) -> None:
        found = route(matrix(tmp_path), facts(amount), "anna.schmidt", PEOPLE)
        assert [list(stage.seats) for stage in found.stages] == [[person] for person in asked]

    def test_below_the_lowest_band_says_by_which_rule(self, tmp_path: Path) -> None:
        found = route(matrix(tmp_path), facts(0), "anna.schmidt", PEOPLE)
        assert found.by_rule == "small"
        assert explain(found, PEOPLE) == ["Approved by rule: band 'small' (below 250 EUR) asks nobody"]

    def test_a_rule_asks_even_where_the_band_asks_nobody(self, tmp_path: Path) -> None:
        found = route(matrix(tmp_path), facts(100, new_supplier=True), "anna.schmidt", PEOPLE)
        assert seats(found) == [(["petra.lang"], 1)]
        assert found.by_rule is None

    def test_everything_at_once_in_its_place(self, tmp_path: Path) -> None:
        found = route(
            matrix(tmp_path), facts(30000, new_supplier=True, over_budget=True, risk="high"), "ben.fischer", PEOPLE
        )
        assert seats(found) == [
            (["petra.lang"], 1),
            (["frank.weber"], 1),
            (["tom.berger"], 1),
            (["maria.keller"], 1),
            (["ines.vogt"], 1),
            (["karl.brandt", "ines.vogt", "sara.neumann"], 2),
            (["tom.berger"], 1),
        ]
        assert [stage.number for stage in found.stages] == list(range(1, 8))

    def test_neighbours_of_the_same_person_are_one_stage_with_the_longer_time(self, tmp_path: Path) -> None:
        found = route(matrix(tmp_path), facts(20000, risk="high", category="software"), "anna.schmidt", PEOPLE)
        assert [(stage.rule, list(stage.seats), stage.within) for stage in found.stages] == [
            ("unit", ["maria.keller"], timedelta(hours=16)),
            ("risk+software", ["tom.berger"], timedelta(hours=16)),
        ]

    def test_the_first_table_that_fits_replaces_the_bands(self, tmp_path: Path) -> None:
        found = route(matrix(tmp_path), facts(30000, category="travel"), "anna.schmidt", PEOPLE)
        assert seats(found) == [(["maria.keller", "frank.weber"], 2)]

    @pytest.mark.parametrize(
        ("requester", "amount", "expected"),
        [
            ("maria.keller", 6000, [["ines.vogt"]]),  # owner of the cost centre: her manager is asked anyway
            ("tom.berger", 6000, [["ines.vogt"], ["maria.keller"]]),
            ("ines.vogt", 30000, [["karl.brandt"], ["maria.keller"], ["karl.brandt"], ["karl.brandt", "sara.neumann"]]),
            ("karl.brandt", 300, [["ines.vogt", "sara.neumann"]]),  # nobody is above
        ],
    )
    def test_the_requester_never_decides_and_the_next_in_line_does(
        self, tmp_path: Path, requester: str, amount: int, expected: list[list[str]]
    ) -> None:
        found = route(matrix(tmp_path), facts(amount), requester, PEOPLE)
        assert [list(stage.seats) for stage in found.stages] == expected

    def test_who_has_left_is_replaced_by_the_next_in_line(self, tmp_path: Path) -> None:
        gone = People.of(p.model_copy(update={"active": p.id != "maria.keller"}) for p in PEOPLE)
        found = route(matrix(tmp_path), facts(300), "anna.schmidt", gone)
        assert seats(found) == [(["ines.vogt"], 1)]
        assert "Ines Vogt takes the place of Maria Keller" in found.stages[0].why

    @pytest.mark.parametrize(
        ("changed", "requester", "code"),
        [
            ({}, "stranger", "requester.unknown"),
            ({}, "admin", "requester.unknown"),
            ({"amount": 300.0}, "anna.schmidt", "facts.missing"),
            ({"amount": Decimal(6000), "cost_centre_owner": None}, "anna.schmidt", "facts.missing"),
            ({"amount": Decimal(-1)}, "anna.schmidt", "policy.gap"),
        ],
    )
    def test_refuses_what_it_cannot_route(
        self, tmp_path: Path, changed: dict[str, Any], requester: str, code: str
    ) -> None:
        with pytest.raises(Unroutable) as refused:
            route(matrix(tmp_path), {**facts(300), **changed}, requester, PEOPLE)
        assert refused.value.code == code

    def test_refuses_a_request_that_does_not_tell_what_a_rule_asks(self, tmp_path: Path) -> None:
        told = facts(300)
        del told["risk"]
        with pytest.raises(Unroutable, match="'risk'"):
            route(matrix(tmp_path), told, "anna.schmidt", PEOPLE)

    def test_is_kept_and_read_back(self, tmp_path: Path) -> None:
        found = route(matrix(tmp_path), facts(30000, risk="high"), "anna.schmidt", PEOPLE)
        assert Routing.from_json(found.as_json()) == found

    def test_knows_the_policy_by_what_it_says(self, tmp_path: Path) -> None:
        one = matrix(tmp_path)
        assert one.digest == matrix(tmp_path, MATRIX + "\n    # a comment").digest
        assert one.digest != matrix(tmp_path, MATRIX.replace("below: 250,", "below: 251,")).digest
        assert one.digest != matrix(tmp_path, MATRIX.replace("within: 24h", "within: 23h")).digest

    def test_is_explained_in_sentences(self, tmp_path: Path) -> None:
        found = route(matrix(tmp_path), facts(300, new_supplier=True), "anna.schmidt", PEOPLE)
        assert explain(found, PEOPLE) == [
            "Stage 1: Petra Lang, because rule 'new_supplier' (new supplier) asks the role procurement; "
            "8 business hours",
            "Stage 2: Maria Keller, because band 'team' (250 to 5,000 EUR) asks the requester's manager; "
            "8 business hours",
        ]


class TestReading:
    @pytest.mark.parametrize(
        ("was", "becomes", "message"),
        [
            ("below: 250,", "below: 249.99,", "put it in quotes"),
            ("below: 250,", "below: -250,", "greater than or equal to 0"),
            ("below: 250,", "belov: 250,", "belov: Extra inputs"),
            ("within: 8h}]}", "within: soon}]}", "not a duration"),
            ("who: manager, within: 8h", "who: boss, within: 8h", "bands.1.stages.0.who.0"),
            ("by_rule: true", "by_rule: false", "by_rule: true"),
            ("id: unit", "id: team", "'team' is used twice"),
            ("from: 5000\n        below: 25000", "from: 5000\n        below: 5000", "must be more than"),
            ("needed: 2", "needed: 0", "greater than or equal to 1"),
            ("otherwise: role:board", "otherwise: manager", "write a role or a person"),
        ],
    )
    def test_names_the_place_and_the_fix(self, tmp_path: Path, was: str, becomes: str, message: str) -> None:
        assert was in MATRIX
        with pytest.raises(DocumentError) as refused:
            matrix(tmp_path, MATRIX.replace(was, becomes, 1))
        assert message in str(refused.value)
        assert str(refused.value).startswith("policy.yaml: ")

    def test_takes_cents_in_quotes(self, tmp_path: Path) -> None:
        found = matrix(tmp_path, MATRIX.replace("250,", '"250.50",'))
        assert found.bands[0].below == Decimal("250.50")


class TestProblems:
    def test_there_are_none_in_a_good_matrix(self, tmp_path: Path) -> None:
        assert problems(matrix(tmp_path), PEOPLE, FACTS) == []

    @pytest.mark.parametrize(
        ("was", "becomes", "message"),
        [
            ("below: 250,", "below: 200,", "nothing decides amounts from 200 to 250 EUR"),
            ("below: 250,", "below: 300,", "overlaps with 'small' from 250 EUR"),
            ("id: small, below", "id: small, from: 10, below", "nothing decides amounts from 0 to 10 EUR"),
            ("from: 25000\n", "from: 25000\n        below: 99999\n", "from 99,999 EUR upwards"),
            ("role:procurement", "role:purchasing", "nobody has the role 'purchasing'"),
            ("person:tom.berger", "person:tom.burger", "no person 'tom.burger'"),
            ("person:tom.berger", "person:admin", "'admin' has left or is a shared account"),
            ("fact:cost_centre_owner", "fact:owner", "no fact 'owner'"),
            ("risk: high", "risk: hihg", "'hihg' is none of its values"),
            ("new_supplier: true", "new_suplier: true", "no fact 'new_suplier'"),
            ("otherwise: role:board", "", "Karl Brandt: fill the role"),
            ("needed: 2", "needed: 3", "3 of them, and 2 can for"),
        ],
    )
    def test_are_found_and_named(self, tmp_path: Path, was: str, becomes: str, message: str) -> None:
        assert was in MATRIX
        found = problems(matrix(tmp_path, MATRIX.replace(was, becomes, 1)), PEOPLE, FACTS)
        assert any(message in line for line in found), found

    def test_too_many_stages(self, tmp_path: Path) -> None:
        longer = MATRIX + "      - {id: stock, when: {risk: high}, who: role:warehouse, within: 8h}\n"
        found = problems(matrix(tmp_path, longer), PEOPLE, FACTS)
        assert any(f"8 stages one after another, and {policy.MOST_STAGES} are the most" in line for line in found)

    def test_of_the_people_are_problems_of_the_matrix(self, tmp_path: Path) -> None:
        circle = People.of(
            p.model_copy(update={"manager": "anna.schmidt"}) if p.id == "karl.brandt" else p for p in PEOPLE
        )
        found = problems(matrix(tmp_path), circle, FACTS)
        assert len([line for line in found if "in a circle" in line]) == 1


edges = st.integers(0, 12)


@st.composite
def bands(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Some bands, often nearly a partition, so that a gap or an overlap is as likely as none."""
    cuts = sorted(draw(st.sets(edges, min_size=1, max_size=4)) | ({0} if draw(st.booleans()) else set()))
    found = [
        {"from": start, **({"below": below} if below is not None else {})}
        for start, below in zip(cuts, [*cuts[1:], None if draw(st.booleans()) else cuts[-1] + 3], strict=True)
    ]
    if draw(st.booleans()):
        index = draw(st.integers(0, len(found) - 1))
        moved = found[index]["from"] + draw(st.sampled_from([-2, -1, 1, 2]))
        if moved >= 0 and ("below" not in found[index] or moved < found[index]["below"]):
            found[index]["from"] = moved
    if draw(st.booleans()):
        start = draw(edges)
        found.append({"from": start, "below": start + draw(st.integers(1, 4))})
    return draw(st.permutations(found))


@given(bands())
def test_gaps_and_overlaps_are_found_where_there_are_any_and_only_there(given_bands: list[dict[str, Any]]) -> None:
    entries = [{"id": f"b{number}", "by_rule": True, **band} for number, band in enumerate(given_bands)]
    made = Matrix.model_validate({"currency": "EUR", "bands": entries})
    boss = Person(id="boss", name="Boss", email="b@x.example", department="x", country="DE")
    everybody = People.of([boss])
    outcomes = set()
    for half in range(60):
        try:
            route(made, {"amount": Decimal(half) / 2}, "boss", everybody)
            outcomes.add("one")
        except Unroutable as refused:
            outcomes.add(refused.code)
    found = problems(made, everybody)
    assert bool(found) == (outcomes != {"one"}), (found, outcomes)
    assert any("nothing decides" in line for line in found) == ("policy.gap" in outcomes)
    assert any("overlaps" in line for line in found) == ("policy.overlap" in outcomes)


names = ["a", "b", "c", "d", "e"]


@given(
    st.lists(st.sampled_from([None, *names]), min_size=5, max_size=5),
    st.lists(st.booleans(), min_size=5, max_size=5),
    st.sampled_from(names),
    st.integers(1, 2),
)
def test_whoever_asks_is_never_asked_whatever_the_company_looks_like(
    managers: list[str | None], active: list[bool], requester: str, needed: int
) -> None:
    everybody = People.of(
        Person(
            id=name,
            name=name * 2,
            email=f"{name}@x.example",
            department="x",
            country="DE",
            manager=manager if manager != name else None,
            roles=("board",) if number % 2 else (),
            active=here,
        )
        for number, (name, manager, here) in enumerate(zip(names, managers, active, strict=True))
    )
    made = Matrix.model_validate(
        {
            "currency": "EUR",
            "otherwise": "role:board",
            "bands": [
                {
                    "id": "all",
                    "stages": [
                        {"who": "manager", "within": "1h"},
                        {"who": "fact:owner", "within": "1h"},
                        {"who": "role:board", "needed": needed, "within": "1h"},
                    ],
                }
            ],
        }
    )
    for owner in names:
        try:
            found = route(made, {"amount": Decimal(1), "owner": owner}, requester, everybody)
        except Unroutable:
            continue
        for stage in found.stages:
            assert requester not in stage.seats
            assert len(set(stage.seats)) == len(stage.seats) >= stage.needed
            assert all(everybody.decides(seat) for seat in stage.seats)
