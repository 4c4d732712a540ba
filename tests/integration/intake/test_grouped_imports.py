"""Rows of a file that form a document become one delivery together, and spreadsheets are read like the CSV of them."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from include.intake import imports
from include.intake.files import ImportRefused
from include.intake.imports import ImportResult, import_rows
from include.intake.sources import Source, source
from include.samples import retail
from tests.integration.intake.conftest import begins
from tests.support.spreadsheets import write_xlsx

Import = Callable[..., ImportResult]
APART = "InvoiceNo,StockCode,Quantity\n1,A,1\n2,B,2\n\n1,C,3\n"


@pytest.fixture
def bring(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Import:
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "development")

    def run(what: Path | str, source_name: str = "retail-sales", **more: Any) -> ImportResult:
        return import_rows(engine, source_name, what, "user:anna", begins=begins, **more)

    return run


def bodies(engine: Engine) -> dict[str, dict[str, Any]]:
    with engine.connect() as connection:
        found = connection.execute(text("select key, body from deliveries"))
        return {key: json.loads(bytes(body)) for key, body in found}


def count(engine: Engine, query: str) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text(query)).scalar_one())


def test_rows_of_a_group_are_one_delivery_however_far_apart_they_stand(engine: Engine, bring: Import) -> None:
    assert bring(APART) == ImportResult(rows=3, new=2, groups=2)
    assert bodies(engine) == {
        "id:1": {
            "InvoiceNo": "1",
            "rows": [
                {"InvoiceNo": "1", "StockCode": "A", "Quantity": "1", "_line": 2},
                {"InvoiceNo": "1", "StockCode": "C", "Quantity": "3", "_line": 5},
            ],
        },
        "id:2": {"InvoiceNo": "2", "rows": [{"InvoiceNo": "2", "StockCode": "B", "Quantity": "2", "_line": 3}]},
    }
    assert count(engine, "select count(*) from cases where stage = 'capture' and state = 'pending'") == 2


def test_groups_are_whole_whatever_the_size_of_a_chunk(
    engine: Engine, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHUNK", 7)
    lines = "".join(f"{number % 10},ITEM-{number},1\n" for number in range(100))
    told: list[int] = []
    result = bring(f"InvoiceNo,StockCode,Quantity\n{lines}", progress=lambda so_far: told.append(so_far.rows))
    assert (result.rows, result.new, result.groups) == (100, 10, 10)
    assert told[:3] == [7, 14, 21]
    assert {len(body["rows"]) for body in bodies(engine).values()} == {10}
    assert [row["_line"] for row in bodies(engine)["id:3"]["rows"]] == list(range(5, 105, 10))


def test_the_same_file_again_adds_nothing_also_when_it_has_grown(engine: Engine, bring: Import) -> None:
    bring(APART)
    assert bring(APART) == ImportResult(rows=3, repeated=2, groups=2)
    grown = APART.replace("1,A,1", "0,Z,1\n1,A,1")
    assert bring(grown) == ImportResult(rows=4, new=1, repeated=2, groups=3)
    assert count(engine, "select count(*) from cases") == 3


def test_a_group_with_other_content_is_a_conflict_told_by_its_first_line(engine: Engine, bring: Import) -> None:
    bring(APART)
    result = bring(APART.replace("1,C,3", "1,C,30"))
    assert (result.new, result.repeated, result.conflicts) == (0, 1, 1)
    assert result.told[0].startswith("line 2: its id belongs to another document")
    assert bodies(engine)["id:1"]["rows"][1]["Quantity"] == "3"


def test_a_row_without_a_value_to_group_by_is_a_delivery_of_its_own(engine: Engine, bring: Import) -> None:
    text_ = "InvoiceNo,StockCode,Quantity\n,A,1\n,B,1\n1,A,1\n"
    assert bring(text_) == ImportResult(rows=3, new=3, groups=3)
    assert bring(text_).repeated == 3
    alone = [body for key, body in bodies(engine).items() if key.startswith("sha256:")]
    assert sorted(body["rows"][0]["StockCode"] for body in alone) == ["A", "B"]
    assert {body["InvoiceNo"] for body in alone} == {""}


def test_either_name_of_the_column_groups(engine: Engine, bring: Import) -> None:
    bring("Invoice,StockCode,Price\n1,A,1\n1,B,2\n")
    assert bodies(engine)["id:1"]["InvoiceNo"] == "1"
    assert len(bodies(engine)["id:1"]["rows"]) == 2


def test_what_is_said_in_a_row_stays_as_it_was_written(engine: Engine, bring: Import) -> None:
    said = {"InvoiceNo": 'a "b" \\ é', "StockCode": "\u0000x\\u0000", "_line": "mine"}
    bring(json.dumps(said) + "\n[1]\n{}\n")
    ((key, body),) = bodies(engine).items()
    assert key == 'id:a "b" \\ é'
    assert body == {"InvoiceNo": said["InvoiceNo"], "rows": [{**said, "_line": 1}]}


def test_rows_that_are_no_rows_and_groups_that_are_too_large_are_told(
    engine: Engine, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = source("retail-sales").model_copy(update={"max_bytes": 300})
    monkeypatch.setattr(imports, "source", lambda _: small)
    lines = "".join(f'{{"InvoiceNo": "1", "StockCode": "ITEM-{number}"}}\n' for number in range(20))
    result = bring(f'{{"InvoiceNo": "2"}}\nnonsense\n{{}}\n{lines}')
    assert (result.rows, result.new, result.unreadable) == (23, 1, 22)
    assert [line.split(":")[0] for line in result.told] == ["line 2", "line 3", "line 4"]
    assert set(bodies(engine)) == {"id:2"}


def test_the_same_file_at_once_is_stored_once(engine: Engine, bring: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "CHUNK", 50)
    lines = "".join(f"{number % 200},ITEM-{number},1\n" for number in range(600))
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: bring(f"InvoiceNo,StockCode,Quantity\n{lines}"), range(3)))
    assert sum(result.new for result in results) == 200
    assert sum(result.repeated for result in results) == 400
    assert count(engine, "select count(*) from cases") == 200


def test_an_interrupted_import_goes_on_where_it_stopped(
    engine: Engine, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHUNK", 10)
    lines = "InvoiceNo\n" + "".join(f"{number}\n" for number in range(45))

    def stop(result: ImportResult) -> None:
        if result.new == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(lines, progress=stop)
    assert bring(lines) == ImportResult(rows=45, new=25, repeated=20, groups=45)


def test_a_source_that_groups_has_no_id_of_its_own() -> None:
    declared = source("retail-sales").model_dump(exclude={"mapping"}) | {"mapping": source("retail-sales").mapping}
    assert Source(**declared).group == ["InvoiceNo", "Invoice"]
    for other in ({"id_path": ["id"]}, {"scheme": "handoff", "secret": None}):
        with pytest.raises(ValueError, match="group"):
            Source(**(declared | other))


# -- spreadsheets


def test_a_spreadsheet_is_read_as_its_csv_would_be(engine: Engine, bring: Import, tmp_path: Path) -> None:
    path = tmp_path / "shop.xlsx"
    header = ("InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Gift")
    first = (536365, "85123A", 6, datetime(2010, 12, 1, 8, 26), 2.55, 17850.0, True)
    write_xlsx(path, {"Online Retail": [(), header, first, (), ("C1", 22, -1, None, 0.1, None, None)]})
    assert bring(path) == ImportResult(rows=2, new=2, groups=2)
    assert bodies(engine)["id:536365"]["rows"] == [
        {
            **{"InvoiceNo": "536365", "StockCode": "85123A", "Quantity": "6", "InvoiceDate": "2010-12-01 08:26:00"},
            **{"UnitPrice": "2.55", "CustomerID": "17850", "Gift": "true", "_line": 3},
        }
    ]
    assert bodies(engine)["id:C1"]["rows"][0]["UnitPrice"] == "0.1"
    assert bodies(engine)["id:C1"]["rows"][0]["_line"] == 5


def test_rows_of_every_sheet_are_read_and_say_where_they_stand(engine: Engine, bring: Import, tmp_path: Path) -> None:
    path = tmp_path / "shop.xlsx"
    header = ("Invoice", "StockCode")
    write_xlsx(path, {"2009": [header, (1, "A")], "notes": [], "2010": [header, (1, "B"), (2, "C")]})
    assert bring(path) == ImportResult(rows=3, new=2, groups=2)
    rows = bodies(engine)["id:1"]["rows"]
    assert [(row["StockCode"], row["_sheet"], row["_line"]) for row in rows] == [("A", "2009", 2), ("B", "2010", 4)]


def test_spreadsheets_are_for_every_source(engine: Engine, bring: Import, tmp_path: Path) -> None:
    path = tmp_path / "leads.xlsx"
    write_xlsx(path, {"leads": [("email", "name"), ("ada@example.com", "Ada")]})
    assert bring(path, "import") == ImportResult(rows=1, new=1)
    assert list(bodies(engine).values()) == [{"email": "ada@example.com", "name": "Ada"}]


@pytest.mark.parametrize("content", [b"no workbook", b""])
def test_a_file_that_is_no_spreadsheet_is_refused(bring: Import, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "shop.xlsx"
    path.write_bytes(content)
    with pytest.raises(ImportRefused, match=r"shop\.xlsx"):
        bring(path)


def test_bytes_of_no_windows_page_are_still_read(engine: Engine, bring: Import, tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    path.write_bytes(b"InvoiceNo,Description\n1,CAF\xc9 \x81\n")
    bring(path)
    assert bodies(engine)["id:1"]["rows"][0]["Description"] == "CAFÉ \x81"


@pytest.mark.slow
def test_half_a_million_rows_take_seconds_and_little_memory(engine: Engine, bring: Import, tmp_path: Path) -> None:
    path = tmp_path / "shop.csv"
    with path.open("w") as file:
        for row in retail.rows():
            file.write(",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) + "\n")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result = bring(path)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    assert (result.rows, result.new) == (retail.WHOLE, 25_900)
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / unit < 150
    assert bring(path).repeated == 25_900
