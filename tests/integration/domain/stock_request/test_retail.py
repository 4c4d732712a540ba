"""Files of a shop's invoices: what can be posted is posted, and every other row is told with its reason by its line."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from include.domain.stock_request.outcomes import Outcomes, write_outcomes
from include.intake.imports import ImportResult, import_rows, keys_of
from include.samples import retail
from tests.support import stock
from tests.support.spreadsheets import Cell, write_xlsx
from tests.support.work import rows as dicts

SOURCE = "retail-sales"
SIZE = 3_000
HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n"


@pytest.fixture(autouse=True)
def development(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "development")


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in dicts(engine, query)]


def bring(engine: Engine, what: str | Path) -> ImportResult:
    return import_rows(engine, SOURCE, what, "user:anna")


def outcomes(engine: Engine, what: str | Path, tmp_path: Path) -> tuple[Outcomes, list[dict[str, str]]]:
    with engine.connect() as connection:
        found = write_outcomes(connection, SOURCE, keys_of(SOURCE, what), tmp_path / "outcomes.csv")
    with found.path.open(newline="") as file:
        return found, list(csv.DictReader(file))


def sample(size: int = SIZE, **more: Any) -> str:
    file = io.StringIO()
    csv.writer(file).writerows(retail.rows(size, **more))
    return file.getvalue()


def as_saved(text: str) -> list[list[Cell]]:
    """The cells of a CSV as a spreadsheet keeps them: numbers as numbers, moments as moments."""

    def cell(value: str) -> Cell:
        if re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", value):
            return float(value)
        return datetime.strptime(value, "%m/%d/%Y %H:%M") if re.match(r"\d+/\d+/\d{4} ", value) else value

    return [[cell(value) for value in row] for row in csv.reader(io.StringIO(text))]


def state(engine: Engine) -> list[tuple[Any, ...]]:
    return [
        *rows(engine, "select item, location, lot, quantity from stock_balances where quantity <> 0 order by 1, 2, 3"),
        *rows(engine, "select count(*), max(id), sum(quantity) from stock_movements"),
        *rows(engine, "select count(*), max(id) from cases"),
        *rows(engine, "select count(*), max(id) from effects"),
        *rows(engine, "select case_id, line, verdict, reason, posted from stock_request_lines order by 1, 2"),
    ]


def test_a_generated_year_is_accounted_for_row_by_row_and_again_changes_nothing(engine: Engine, tmp_path: Path) -> None:
    stock.prepare(engine)
    text, dirt = sample(), retail.Dirt.of(SIZE)
    assert bring(engine, text) == ImportResult(rows=SIZE, new=dirt.invoices, groups=dirt.invoices)
    stock.work(engine)
    found, told = outcomes(engine, text, tmp_path)
    assert sum(found.verdicts.values()) == SIZE
    assert found.under_way == 0
    reasons = Counter((row["verdict"], row["reason"]) for row in told)
    assert reasons["rejected", "line.duplicate"] == dirt.duplicates
    assert reasons["rejected", "item.not_stocked"] == dirt.fee_rows + dirt.bad_debt
    waits = found.verdicts["waiting"]
    posted, rejected = found.verdicts["posted"], found.verdicts["rejected"]
    assert posted + rejected + waits == SIZE
    assert waits <= dirt.lost
    assert posted + waits == dirt.sold + dirt.returned + dirt.lost + dirt.found
    assert rows(engine, "select difference from balance where workflow = 'stock_request'") == [(0,)]
    assert rows(engine, "select sum(quantity) from stock_balances") == [(0,)]

    before = state(engine)
    again = bring(engine, text)
    assert (again.new, again.repeated, again.conflicts) == (0, dirt.invoices, 0)
    assert stock.work(engine) == {}
    assert state(engine) == before
    assert outcomes(engine, text, tmp_path)[1] == told

    sheet = tmp_path / "online_retail.xlsx"
    write_xlsx(sheet, {"Online Retail": as_saved(text), "Notes": [["Remark"]]})
    as_spreadsheet = bring(engine, sheet)
    assert (as_spreadsheet.new, as_spreadsheet.repeated, as_spreadsheet.conflicts) == (0, dirt.invoices, 0)
    assert state(engine) == before
    assert outcomes(engine, sheet, tmp_path)[1] == told


def test_a_spreadsheet_of_an_invoice_that_says_something_else_is_a_conflict(engine: Engine, tmp_path: Path) -> None:
    stock.prepare(engine)
    text = HEADER + "536365,85123A,WHITE HEART,6,12/1/2010 8:26,2.50,17850,United Kingdom\n"
    assert bring(engine, text).new == 1
    others = {"6,": "7,", "12/1/2010": "1/12/2010", "2.50": "2.05", "85123A": "085123"}
    for number, (was, now) in enumerate([("", ""), *others.items()]):
        sheet = tmp_path / f"{number}.xlsx"
        write_xlsx(sheet, {"Online Retail": as_saved(text.replace(was, now, 1) if was else text)})
        came = bring(engine, sheet)
        assert (came.new, came.repeated, came.conflicts) == ((0, 0, 1) if was else (0, 1, 0)), now


def test_what_moved_is_what_the_file_says(engine: Engine) -> None:
    stock.prepare(engine)
    text = sample()
    bring(engine, text)
    stock.work(engine)
    expected: Counter[str] = Counter()
    seen: set[tuple[str, ...]] = set()
    for row in csv.DictReader(io.StringIO(text)):
        key = tuple(row.values())
        stocked = row["StockCode"] not in {*retail.FEES, "B"}
        lost = int(row["Quantity"]) < 0 and not row["InvoiceNo"].startswith("C")
        if stocked and key not in seen and not lost:
            expected[row["StockCode"]] -= int(row["Quantity"])
        seen.add(key)
    moved = dict(
        rows(
            engine,
            """
            select item, sum(case when destination = 'SHOP' then quantity else -quantity end) from stock_movements
            where 'SHOP' in (source, destination) and kind <> 'adjustment'
              and 'ADJUSTMENT' not in (source, destination) group by item""",
        )
    )
    assert {code: quantity for code, quantity in moved.items() if quantity} == {
        code: Decimal(quantity) for code, quantity in expected.items() if quantity
    }


def test_every_rejected_row_is_found_by_its_line(engine: Engine, tmp_path: Path) -> None:
    text = (
        HEADER + "536365,85123A,WHITE HEART,6,12/1/2010 8:26,2.55,17850,United Kingdom\n"  # 2
        "536365,85123A,WHITE HEART,6,12/1/2010 8:26,2.55,17850,United Kingdom\n"  # 3: said already
        "536365,85123A,WHITE HEART,2,12/1/2010 8:26,2.55,17850,United Kingdom\n"  # 4: not the same
        "536366,POST,POSTAGE,1,12/1/2010 8:28,18.00,12583,France\n"  # 5
        "536367,gift_0001_20,Voucher,1,12/1/2010 8:30,16.67,,United Kingdom\n"  # 6
        "C536379,22632,HAND WARMER,-1,12/1/2010 9:41,1.85,14527,United Kingdom\n"  # 7: comes back
        "536380,22961,JAM,none,12/1/2010 9:41,1.45,17809,United Kingdom\n"  # 8
        "536381,22962,JAM,0,12/1/2010 9:41,1.45,17809,United Kingdom\n"  # 9
        "536382,22963,JAM,1,someday,1.45,17809,United Kingdom\n"  # 10
        "A563187,B,Adjust bad debt,1,8/12/2011 14:52,-11062.06,,United Kingdom\n"  # 11
        "536383,,JAM,1,12/1/2010 9:41,1.45,17809,United Kingdom\n"  # 12
        "536365,22752,NESTING BOXES,2,12/1/2010 8:26,7.65,17850,United Kingdom\n"  # 13: apart from its invoice
    )
    stock.prepare(engine)
    assert bring(engine, text) == ImportResult(rows=12, new=9, groups=9)
    stock.work(engine)
    found, told = outcomes(engine, text, tmp_path)
    by_line = {int(row["line"]): (row["document"], row["verdict"], row["reason"]) for row in told}
    assert by_line[3] == ("536365", "rejected", "line.duplicate")
    assert by_line[5] == ("536366", "rejected", "item.not_stocked")
    assert by_line[6][2] == by_line[11][2] == "item.not_stocked"
    assert by_line[8][2] == "quantity.unreadable"
    assert by_line[9] == ("536381", "rejected", "quantity.zero")
    assert by_line[10][2] == "occurred_at.unreadable"
    assert by_line[12] == ("536383", "rejected", "item.missing")
    assert set(by_line) == {3, 5, 6, 8, 9, 10, 11, 12}
    assert found.verdicts["posted"] == 4
    there = "select item, quantity from stock_balances where location = 'SHOP' order by 1"
    assert rows(engine, there) == [("22632", 1), ("22752", -2), ("85123A", -8)]
    moved = "select distinct moved_at at time zone 'Europe/London' from stock_movements where item = '85123A'"
    assert str(rows(engine, moved)[0][0]) == "2010-12-01 08:26:00"


def test_items_of_a_file_are_learned_and_its_prices_are_no_costs(engine: Engine) -> None:
    stock.prepare(engine)
    bring(engine, HEADER + "536365,85123a, WHITE HEART ,6,2010-12-01 08:26:00,2.55,17850,United Kingdom\n")
    stock.work(engine)
    learned = "select code, title, learned_from, standard_cost from stock_items where learned_from is not null"
    assert rows(engine, learned) == [("85123A", "WHITE HEART", SOURCE, None)]
    assert rows(engine, "select unit_cost from stock_movements") == [(None,)]


def test_what_is_gone_without_a_sale_is_an_adjustment_and_goes_by_the_rules(engine: Engine) -> None:
    stock.prepare(engine)
    bring(
        engine,
        HEADER
        + "536589,BOLT-8,damages,-3,12/1/2010 16:50,0,,United Kingdom\n"
        + "536590,LAMP,thrown away,-30,12/1/2010 16:52,0,,United Kingdom\n"
        + "536591,NEVER-1,?,-7,12/1/2010 16:53,0,,United Kingdom\n",
    )
    stock.work(engine)
    moved = "select item, source, destination, quantity from stock_movements order by item"
    small = [("BOLT-8", "SHOP", "ADJUSTMENT", 3), ("NEVER-1", "SHOP", "ADJUSTMENT", 7)]
    assert rows(engine, moved) == small
    assert rows(engine, "select state, stage, owner from cases where state <> 'finished'") == [
        ("waiting", "approve", "sara.neumann")
    ], "the keeper answers for a loss of 1,200 EUR, and whoever is above decides"
    (case,) = rows(engine, "select id from cases where state = 'waiting'")
    stock.approved(engine, case[0])
    stock.work(engine)
    assert rows(engine, moved) == [small[0], ("LAMP", "SHOP", "ADJUSTMENT", 30), small[1]]


@pytest.mark.parametrize(("lost", "waits"), [(1, False), (30, True)])
def test_a_negative_line_among_sales_becomes_a_request_that_goes_by_the_rules(
    engine: Engine, lost: int, waits: bool
) -> None:
    stock.prepare(engine)
    bring(
        engine,
        HEADER
        + "536592,BOLT-8,Bolts,5,12/1/2010 16:50,0.2,17850,United Kingdom\n"
        + f"536592,LAMP,Lamp,-{lost},12/1/2010 16:50,79,17850,United Kingdom\n",
    )
    stock.work(engine)
    stock.work(engine)
    moved = "select item, destination, quantity, kind from stock_movements order by item"
    sale, loss = ("BOLT-8", "CUSTOMER", 5, "issue"), ("LAMP", "ADJUSTMENT", lost, "adjustment")
    waiting = rows(engine, "select id, owner from cases where state = 'waiting' and stage = 'approve'")
    if waits:
        assert rows(engine, moved) == [sale]
        assert [owner for _, owner in waiting] == ["sara.neumann"]
        stock.approved(engine, waiting[0][0])
        stock.work(engine)
    else:
        assert waiting == []
    assert rows(engine, moved) == [sale, loss]
    assert rows(engine, "select count(distinct case_id) from stock_movements") == [(2,)]


def test_the_second_edition_and_other_encodings_are_read(engine: Engine, tmp_path: Path) -> None:
    stock.prepare(engine)
    path = tmp_path / "online_retail_II.csv"
    path.write_bytes(sample(400, edition=2, dates="iso").encode("cp1252"))
    assert bring(engine, path).new == retail.Dirt.of(400).invoices
    stock.work(engine)
    found, _ = outcomes(engine, path, tmp_path)
    assert found.under_way == 0
    assert found.verdicts["posted"] > 350
    at = rows(engine, "select min(moved_at) at time zone 'Europe/London' from stock_movements")
    assert str(at[0][0]) == "2010-12-01 08:26:00"
    assert rows(engine, "select count(*) from stock_items where title like '%CAFÉ%'")[0][0] > 0
