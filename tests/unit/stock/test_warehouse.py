"""warehouse.yaml: the shipped one is right, and each fault of another one says where it is and what to write."""

from __future__ import annotations

import os
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from include.approvals.people import people
from include.contracts.documents import DocumentError
from include.stock.warehouse import FILE, VARIABLE, load, virtual, warehouse


@pytest.fixture
def changed(tmp_path: Path) -> Path:
    return tmp_path / "warehouse.yaml"


def fault(path: Path, old: str, new: str) -> str:
    shipped = FILE.read_text(encoding="utf-8")
    assert old in shipped
    path.write_text(shipped.replace(old, new), encoding="utf-8")
    with pytest.raises(DocumentError) as raised:
        load(path)
    return str(raised.value)


def test_the_shipped_warehouse_is_kept_by_people_who_are_known() -> None:
    shipped = load()
    assert str(shipped.zone) == "Europe/Berlin"
    assert shipped.locations["COLD"].capacity == Decimal(40)
    keepers = {location.keeper for location in shipped.locations.values() if location.real}
    assert keepers <= set(people().by_id)
    assert [code for code, location in shipped.locations.items() if location.negative] == ["SHOP"]


def test_its_day_begins_by_its_own_clock() -> None:
    shipped = load()
    for moment, day in (
        ("2026-11-20T22:59:59Z", date(2026, 11, 20)),
        ("2026-11-20T23:00:00Z", date(2026, 11, 21)),
        ("2026-07-20T22:00:00Z", date(2026, 7, 21)),
    ):
        assert shipped.day_of(datetime.fromisoformat(moment)) == day


def test_a_kind_alone_means_one_place() -> None:
    kinds = ("supplier", "customer", "consumption", "scrap", "adjustment", "transit")
    assert [virtual(kind) for kind in kinds] == [kind.upper() for kind in kinds]


def test_units_that_are_always_the_same_part_of_another() -> None:
    shipped = load()
    assert shipped.factor("g", "kg") == Fraction(1, 1000)
    assert shipped.factor("t", "g") == 1_000_000
    assert shipped.factor("pcs", "pcs") == shipped.factor("nothing", "nothing") == 1
    assert shipped.factor("kg", "l") is shipped.factor("box", "pcs") is None


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("Europe/Berlin", "Berlin", "'Berlin' is no time zone; write one such as Europe/Berlin"),
        ("valuation: fifo", "valuation: lifo", "groups.goods.valuation"),
        ("kind: transit", "kind: lorry", "locations.TRANSIT.kind"),
        ("kind: scrap", "kind: customer", "there is none of kind scrap; declare one of each"),
        ("  MAIN:", "  main hall:", "locations.main hall"),
        ("    keeper: olaf.winter\n", "", "locations.SHOP: nobody answers for it; name a person's id as `keeper`"),
        ("kind: customer", "kind: customer\n    negative: true", "`negative` is for internal locations"),
        ('["department:operations"]', '["operations"]', "locations.MAIN.users.0"),
        ('capacity: "40"', 'capacity: "a lot"', "locations.COLD.capacity: 'a lot' is not a number"),
        ('capacity: "40"', 'capacity: "1/3"', "has no end as a decimal number"),
        ('capacity: "40"', "capacity: 0.1", "is not exact; write it in quotes"),
        ('factor: "12"', 'factor: "0"', "units.dozen: factor is not above zero"),
        ('factor: "12"', 'factor: "1/0"', "units.dozen.factor: '1/0' is not a number"),
        ("of: kg", "of: stone", "units.g.of: 'stone' is not a unit that stands by itself"),
        ("of: m\n", "of: ml\n", "units.cm.of: 'ml' is not a unit that stands by itself"),
        ("    of: pcs\n", "", "nothing says of what; name a unit under `of`"),
        ("title: Shop", "titel: Shop", "locations.SHOP.titel"),
        ("  SHOP:", "  MAIN:", "'MAIN' is written twice"),
    ],
)
def test_a_fault_is_told_with_its_place(changed: Path, old: str, new: str, told: str) -> None:
    assert told in fault(changed, old, new)


def test_another_file_is_named_by_the_environment_and_read_again_when_it_changes(
    changed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(changed))
    with pytest.raises(DocumentError, match=VARIABLE):
        warehouse()
    shipped = FILE.read_text(encoding="utf-8")
    for number, site in enumerate(("Bremen", "Kassel")):
        changed.write_text(shipped.replace("site: Hamburg", f"site: {site}"), encoding="utf-8")
        os.utime(changed, ns=(number, number))
        assert warehouse().locations["SHOP"].site == site
