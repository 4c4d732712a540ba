"""The people: accounts that are theirs alone, and a line of managers that ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.approvals.people import FILE, VARIABLE, People, load, people
from include.contracts.documents import DocumentError

PEOPLE = load(FILE)


def read(tmp_path: Path, entries: str) -> People:
    file = tmp_path / "people.yaml"
    file.write_text("people:\n" + entries, encoding="utf-8")
    return load(file)


def entry(name: str, more: str = "") -> str:
    return (
        f"  {name}: {{name: {name.title()}, email: {name}@x.example, department: x, country: NO{', ' if more else ''}"
        f"{more}}}\n"
    )


def test_the_sample_has_no_problems() -> None:
    assert PEOPLE.problems() == []


def test_an_account_is_found_whatever_airflow_calls_its_id() -> None:
    for user_id, name in (("anna.schmidt", "anna.schmidt"), ("7", "anna.schmidt"), ("anna.schmidt", None)):
        found = PEOPLE.by_airflow(user_id, name)
        assert found is not None
        assert found.id == "anna.schmidt"
    assert PEOPLE.by_airflow("7", "mallory") is None
    assert PEOPLE.by_airflow(None, None) is None
    assert PEOPLE.by_airflow("anna.schmidt", "maria.keller") is None  # two people: nobody
    slack = PEOPLE.by_slack("U0MARIA")
    assert slack is not None
    assert slack.id == "maria.keller"
    assert PEOPLE.by_slack("U0NOBODY") is None
    assert PEOPLE.by_slack(None) is None


def test_the_line_of_managers_is_nearest_first() -> None:
    assert [person.id for person in PEOPLE.chain("petra.lang")] == ["frank.weber", "ines.vogt", "karl.brandt"]
    above = PEOPLE.next_in_line("petra.lang", {"frank.weber"})
    assert above is not None
    assert above.id == "ines.vogt"
    assert PEOPLE.next_in_line("karl.brandt") is None
    assert PEOPLE.manager_of("karl.brandt") is None


def test_holders_of_a_role_can_decide() -> None:
    assert [person.id for person in PEOPLE.holders("board")] == ["karl.brandt", "ines.vogt", "sara.neumann"]
    assert not PEOPLE.decides("admin")
    assert not PEOPLE.decides("stranger")


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (entry("ann", "airflow: x") + entry("bob", "airflow: X"), "one person could decide as two"),
        (entry("ann", "slack: U1") + entry("bob", "slack: U1"), "one person could decide as two"),
        (entry("ann", "manager: ann"), "their own manager"),
        (entry("ann", "shared: true, roles: [board]"), "shared account and decides nothing"),
        (entry("ann", "zone: Europe/Nowhere"), "IANA name"),
        (entry("ann", "salary: 1"), "people.ann.salary: Extra inputs"),
        (entry("ann") + entry("ann"), "written twice"),
    ],
)
def test_a_file_that_would_let_somebody_through_is_refused(tmp_path: Path, entries: str, message: str) -> None:
    with pytest.raises(DocumentError) as refused:
        read(tmp_path, entries)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (entry("ann", "manager: bob"), "there is no 'bob'"),
        (entry("ann", "manager: bob") + entry("bob", "shared: true"), "shared account"),
        (
            entry("ann", "manager: bob") + entry("bob", "manager: cid") + entry("cid", "manager: ann"),
            "people.ann.manager: the managers go round in a circle (ann → bob → cid → ann)",
        ),
    ],
)
def test_problems_of_the_line_are_named_once(tmp_path: Path, entries: str, message: str) -> None:
    found = read(tmp_path, entries).problems()
    assert len(found) == 1
    assert message in found[0]


def test_a_circle_is_walked_once(tmp_path: Path) -> None:
    circle = read(tmp_path, entry("ann", "manager: bob") + entry("bob", "manager: ann"))
    assert [person.id for person in circle.chain("ann")] == ["bob"]


def test_norway_is_a_country(tmp_path: Path) -> None:
    assert read(tmp_path, entry("ann")).by_id["ann"].country == "NO"


def test_another_file_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(tmp_path, entry("ann"))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "people.yaml"))
    assert list(people().by_id) == ["ann"]
    monkeypatch.setenv(VARIABLE, str(tmp_path / "missing.yaml"))
    with pytest.raises(DocumentError, match=VARIABLE):
        people()
