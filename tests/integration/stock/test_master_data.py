"""Master data of items from files: good rows are written, faulty ones are told by line, and again changes nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

import pytest
from sqlalchemy import Engine

from include.data.database import authored
from include.intake.files import opened
from include.stock.items import Item, load_items, upsert_items
from include.stock.ledger import Movement, post
from include.stock.master_data import MasterData, import_items
from include.stock.warehouse import sync

HEADER = "code,title,group,unit,decimals,tracking,abc,hazard,temperature,volume,standard_cost,active,units\n"


def enter(engine: Engine, text: str) -> MasterData:
    with opened(text, None) as rows, authored(engine, actor="user:anna") as connection:
        sync(connection)
        return import_items(connection, rows)


def item(engine: Engine, code: str) -> Item:
    with engine.connect() as connection:
        return load_items(connection, [code])[code]


def test_a_row_becomes_an_item_with_its_units_and_again_changes_nothing(engine: Engine) -> None:
    text = HEADER + "mug-w, Mug ,Goods,PCS,,None,b,Flammable,,0.0008,2.10,ja,box=12;Pallet = 480;third=1/3\n"
    assert (enter(engine, text).changed, enter(engine, text).changed) == (1, 0)
    assert item(engine, "MUG-W") == Item(
        code="MUG-W",
        title="Mug",
        group="goods",
        unit="pcs",
        abc="B",
        hazard="flammable",
        volume=Decimal("0.0008"),
        standard_cost=Decimal("2.10"),
        units={"box": Fraction(12), "pallet": Fraction(480), "third": Fraction(1, 3)},
    )


def test_what_a_row_does_not_say_stays_as_it_is_known(engine: Engine) -> None:
    enter(engine, HEADER + "A,Old,goods,kg,2,lot,A,flammable,cold,1,5,no,bag=25\n")
    enter(engine, "code,title,group,unit,hazard,abc\nA,New,goods,kg,none,\n")
    found = item(engine, "A")
    assert (found.title, found.hazard, found.temperature, found.abc, found.active) == ("New", None, "cold", "A", False)
    assert (found.decimals, found.tracking, found.units) == (2, "lot", {"bag": Fraction(25)})


def test_a_unit_says_how_far_an_item_can_be_divided_unless_the_row_does(engine: Engine) -> None:
    enter(engine, HEADER + "A,A,goods,kg,,,,,,,,,\nB,B,goods,kg,1,,,,,,,,\n")
    assert (item(engine, "A").decimals, item(engine, "B").decimals) == (3, 1)


def test_a_learned_item_is_completed(engine: Engine) -> None:
    with authored(engine, actor="system:test") as connection:
        upsert_items(connection, [Item("A", "?", "goods", "pcs", learned_from="retail-sales")])
    enter(engine, "code,title,group,unit\nA,Lamp,goods,pcs\n")
    assert (item(engine, "A").title, item(engine, "A").learned_from) == ("Lamp", None)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (",Mug,goods,pcs,,,,,,,,,", "code: is missing"),
        ("A,,goods,pcs,,,,,,,,,", "title: is missing"),
        ("A,A,toys,pcs,,,,,,,,,", "group: 'toys' is no group; there are: goods"),
        ("A,A,goods,bucket,,,,,,,,,", "unit: 'bucket' is no unit; there are: pcs"),
        ("A,A,goods,pcs,7,,,,,,,,", "decimals: "),
        ("A,A,goods,pcs,,batch,,,,,,,", "tracking: "),
        ("A,A,goods,pcs,,,D,,,,,,", "abc: "),
        ('A,A,goods,pcs,,,,,,,"1,50",,', "standard_cost: "),
        ("A,A,goods,pcs,,,,,,-1,,,", "volume: "),
        ("A,A,goods,pcs,,,,,,,,maybe,", "active: 'maybe' is neither yes nor no"),
        ("A,A,goods,pcs,,,,,,,,,box", "units: 'box' does not say how many"),
        ("A,A,goods,pcs,,,,,,,,,box=0", "units: 'box=0' does not say"),
        ("A,A,goods,pcs,,,,,,,,,box=1;BOX=2", "units: the unit 'BOX' is written twice"),
        ("A,A,goods,pcs,,,,,,,,,pcs=2", "units: pcs is the base unit itself"),
        ("A,A,goods,kg,,serial,,,,,,,", "what has serial numbers is counted in whole pieces"),
        ("A,A,goods,pcs,,,,,,,,,,extra", "has more values than the header"),
    ],
)
def test_a_faulty_row_is_told_by_its_line_and_the_others_are_written(engine: Engine, row: str, told: str) -> None:
    result = enter(engine, f"{HEADER}GOOD,Good,goods,pcs,,,,,,,,,\n{row}\nMORE,More,goods,pcs,,,,,,,,,\n")
    assert (result.rows, result.changed, result.faulty) == (3, 2, 1)
    assert result.told[0].startswith("line 3: ")
    assert told in result.told[0]


def test_a_code_that_stands_twice_and_a_column_that_is_none_are_told(engine: Engine) -> None:
    twice = enter(engine, "code,title,group,unit\nA,A,goods,pcs\na,B,goods,pcs\n")
    assert twice.told == ["line 3: the code A stands on line 2 already; keep one of the two"]
    wrong = enter(engine, "code,title,group,unit,colour\nB,B,goods,pcs,red\n")
    assert "there is no column 'colour'" in wrong.told[0]


def test_only_what_has_lots_can_expire(engine: Engine) -> None:
    text = "code,title,group,unit,tracking,expires\nA,A,goods,pcs,lot,yes\nB,B,goods,pcs,none,yes\n"
    assert enter(engine, text).told == [
        "line 3: expires: only lots and serial numbers have a last day; write one as tracking"
    ]
    assert item(engine, "A").expires


def test_an_item_that_moved_stays_what_it_is_and_the_rest_of_the_file_is_written(engine: Engine) -> None:
    enter(engine, "code,title,group,unit\nA,A,goods,pcs\nB,B,goods,pcs\n")
    with authored(engine, actor="system:test") as connection:
        at = datetime(2026, 1, 2, tzinfo=UTC)
        post(connection, [Movement("m", "receipt", "A", "SUPPLIER", "MAIN", Decimal(1), at)])
    result = enter(engine, "code,title,group,unit\nA,A,goods,kg\nB,Better,goods,kg\n")
    assert (result.changed, result.faulty) == (1, 1)
    assert result.told[0].startswith("line 2: A has moved and stays counted in pcs")
    assert enter(engine, "code,title,group,unit\nA,Renamed,goods,pcs\n").changed == 1
