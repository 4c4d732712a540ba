"""What is due when, who counts, and what the shipped rules say."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import pytest

from include.approvals.people import people
from include.contracts.documents import DocumentError
from include.domain.stock_count.plan import Place, due_on, sheets, works
from include.domain.stock_count.rules import FILE, counters_at, counting, load, may_count
from include.stock.warehouse import warehouse

DAY = date(2026, 3, 2)  # a Monday
RULES = counting()


def test_the_shipped_rules_name_people_who_may_count_there() -> None:
    for code, named in RULES.counters.items():
        assert counters_at(code, warehouse().locations[code], RULES, people()) == named
        assert warehouse().locations[code].keeper not in named


@pytest.mark.parametrize(("abc", "days"), [("A", 30), ("B", 90), ("C", 365)])
def test_what_was_counted_is_due_after_its_class_interval(abc: str, days: int) -> None:
    place = Place("BOLT-8", "", abc, DAY)  # type: ignore[arg-type]
    assert due_on(place, "MAIN", DAY, RULES) == DAY + timedelta(days=days)


def test_what_was_never_counted_takes_turns_over_one_interval() -> None:
    turns = [due_on(Place(f"ITEM-{n}", "", "A", None), "MAIN", DAY, RULES) for n in range(3_000)]
    each_day = [turns.count(DAY + timedelta(days=n)) for n in range(30)]
    assert sum(each_day) == 3_000
    assert 60 < min(each_day) <= max(each_day) < 140
    assert turns == [due_on(Place(f"ITEM-{n}", "", "A", None), "MAIN", DAY, RULES) for n in range(3_000)]


def test_a_day_takes_so_many_sheets_of_so_many_lines() -> None:
    due = [Place(f"ITEM-{n:03}", "", "C", None) for n in range(130)]
    cut = list(sheets(due, ["olaf.winter", "lena.hoffmann"], DAY, RULES))
    assert [len(sheet.places) for sheet in cut] == [25, 25, 25, 25]
    assert {sheet.counter for sheet in cut} == {"olaf.winter", "lena.hoffmann"}
    assert [place for sheet in cut for place in sheet.places] == due[:100]
    assert list(sheets([], ["olaf.winter"], DAY, RULES)) == []
    assert [sheet.counter for sheet in sheets(due[:1], [], DAY, RULES)] == [None]


def test_the_keeper_counts_only_where_there_is_nobody_else() -> None:
    unnamed = RULES.model_copy(update={"counters": {}})
    main = warehouse().locations["MAIN"]
    found = counters_at("MAIN", main, unnamed, people())
    assert found == ["sara.neumann", "olaf.winter"]
    alone = main.model_copy(update={"users": ("person:lena.hoffmann",)})
    assert counters_at("MAIN", alone, unnamed, people()) == ["lena.hoffmann"]


def test_who_may_not_post_there_does_not_count_there() -> None:
    main = warehouse().locations["MAIN"]
    assert may_count(people().by_id["olaf.winter"], main)
    assert not may_count(people().by_id["jonas.braun"], main)
    assert not may_count(people().by_id["admin"], main.model_copy(update={"users": ("department:it",)}))
    assert not may_count(None, main)
    wrong = RULES.model_copy(update={"counters": {"MAIN": ["jonas.braun", "nobody"]}})
    assert counters_at("MAIN", main, wrong, people()) == []


def test_nobody_counts_on_holidays() -> None:
    calendar = people().by_id["lena.hoffmann"].calendar
    assert works(calendar, DAY)
    assert not works(calendar, DAY - timedelta(days=1))
    assert not works(calendar, date(2026, 12, 25))


def test_rules_that_leave_a_class_out_are_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "counting.yaml"
    wrong.write_text(FILE.read_text().replace("{A: 30, B: 90, C: 365}", "{A: 30, B: 90}"))
    with pytest.raises(DocumentError, match="each of A, B and C"):
        load(wrong)
    wrong.write_text(FILE.read_text().replace('a: "0.80"', 'a: "0.99"'))
    with pytest.raises(DocumentError, match=r"0\.99"):
        load(wrong)
