"""Files of rows become deliveries, once, however often they are imported."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from include.intake import imports
from include.intake.files import ImportRefused
from include.intake.imports import ImportResult, import_rows
from include.intake.sources import map_fields
from tests.integration.intake.conftest import begins

Import = Callable[..., ImportResult]
CSV = 'Email,Name,Note\nada@example.com,Ada,\ngrace@example.com,Grace,"two\nlines, one row"\n'


@pytest.fixture
def bring(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Import:
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "development")

    def run(what: Path | str, **more: Any) -> ImportResult:
        return import_rows(engine, "import", what, "user:anna", begins=begins, **more)

    return run


def rows(engine: Engine, query: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]


def test_pasted_rows_become_cases_in_the_name_of_the_person(engine: Engine, bring: Import) -> None:
    assert bring(CSV) == ImportResult(rows=2, new=2)
    bodies = [json.loads(bytes(body)) for (body,) in rows(engine, "select body from deliveries order by body")]
    assert bodies == [
        {"Email": "ada@example.com", "Name": "Ada", "Note": ""},
        {"Email": "grace@example.com", "Name": "Grace", "Note": "two\nlines, one row"},
    ]
    assert (
        rows(engine, "select workflow, state, stage, owner from cases")
        == [("lead_to_client", "pending", "capture", "sales")] * 2
    )
    assert rows(engine, "select distinct kind, actor from events") == [("received", "user:anna")]


def test_the_same_file_twice_adds_nothing(engine: Engine, bring: Import, tmp_path: Path) -> None:
    path = tmp_path / "leads.csv"
    path.write_text(CSV)
    assert bring(path).new == 2
    assert bring(str(path)) == ImportResult(rows=2, repeated=2)
    path.write_text(CSV + "lin@example.com,Lin,\n")
    assert bring(path) == ImportResult(rows=3, new=1, repeated=2)
    assert rows(engine, "select received, difference from balance") == [(3, 0)]


def test_the_same_file_at_once_is_stored_once(engine: Engine, bring: Import, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "CHUNK", 50)
    lines = "".join(f"p{n}@example.com,{n}\n" for n in range(500))
    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(lambda _: bring(f"email,name\n{lines}"), range(3)))
    assert sum(result.new for result in results) == 500
    assert sum(result.repeated for result in results) == 1000
    assert rows(engine, "select count(*) from cases") == [(500,)]


def test_an_interrupted_import_goes_on_where_it_stopped(
    engine: Engine, bring: Import, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "CHUNK", 10)
    lines = "email\n" + "".join(f"p{n}@example.com\n" for n in range(45))
    told: list[ImportResult] = []

    def stop(result: ImportResult) -> None:
        told.append(replace(result))
        if len(told) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bring(lines, progress=stop)
    assert [(each.new, each.rows) for each in told] == [(10, 10), (20, 20)]
    assert bring(lines) == ImportResult(rows=45, new=25, repeated=20)


def test_a_row_with_a_stored_id_and_other_content_is_told_by_its_line(engine: Engine, bring: Import) -> None:
    bring("id,email\n1,a@example.com\n2,b@example.com\n")
    result = bring("id,email\n1,a@example.com\n2,changed@example.com\n3,c@example.com\n")
    assert (result.new, result.repeated, result.conflicts) == (1, 1, 1)
    assert result.told[0].startswith("line 3: its id belongs to another row")
    assert "changed" not in result.told[0]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ('{"email":"a@example.com"}\n\n{"email":"b@example.com"}\r\n', "a.ndjson"),
        ('{"email":"a@example.com"}\n{"email":"b@example.com"}', "a.txt"),
        ('[{"email":"a@example.com"},\n{"email":"b@example.com"}]', "a.json"),
        ("\ufeffemail;name\na@example.com;A\nb@example.com;B\n;\n", "a.csv"),
        ("email\tname\na@example.com\tA\nb@example.com\tB", "a.tsv"),
        ("\n\nemail|name\na@example.com|A\nb@example.com|B", "a.csv"),
    ],
)
def test_each_format_is_recognised(bring: Import, tmp_path: Path, content: str, name: str) -> None:
    (tmp_path / name).write_text(content, newline="")
    assert bring(tmp_path / name) == ImportResult(rows=2, new=2)
    if not content.startswith("\ufeff"):
        assert bring(content + "\n").repeated == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_what_spreadsheets_write_is_read(engine: Engine, bring: Import, tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "leads.csv"
    path.write_bytes("email,name\na@example.com,Jørgen Müller\n".encode(encoding))
    assert bring(path).new == 1
    (body,) = rows(engine, "select body from deliveries")[0]
    assert map_fields("import", bytes(body)).fields["full_name"] == "Jørgen Müller"


def test_rows_that_are_no_rows_are_told_and_the_others_stored(bring: Import) -> None:
    result = bring('{"email":"a@example.com"}\nnonsense\n[1]\n{"email":"b@example.com"}\n')
    assert (result.rows, result.new, result.unreadable) == (4, 2, 2)
    assert [line.split(":")[0] for line in result.told] == ["line 2", "line 3"]


def test_a_row_with_too_many_values_is_stored_and_the_mapping_says_why_it_does_not_fit(
    engine: Engine, bring: Import
) -> None:
    bring("email,name\na@example.com,Ada,Countess\n")
    (body,) = rows(engine, "select body from deliveries")[0]
    result = map_fields("import", bytes(body))
    assert result.fields["email"] == "a@example.com"
    assert [reason.code for reason in result.reasons] == ["mapping.refused"]


def test_columns_without_a_name_or_with_the_same_are_kept_apart(engine: Engine, bring: Import) -> None:
    bring("email,,email\na@example.com,x,b@example.com\n")
    (body,) = rows(engine, "select body from deliveries")[0]
    assert json.loads(bytes(body)) == {"email": "a@example.com", "column_2": "x", "email_2": "b@example.com"}


def test_a_file_outside_the_folder_for_imports_is_refused(
    bring: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.csv").write_text(CSV)
    (tmp_path / "secret.csv").write_text(CSV)
    (tmp_path / "in/link.csv").symlink_to(tmp_path / "secret.csv")
    monkeypatch.setenv("WAYBILL_IMPORT_FOLDER", str(tmp_path / "in"))
    assert bring("a.csv").new == 2
    for path in ("../secret.csv", str(tmp_path / "secret.csv"), "link.csv"):
        with pytest.raises(ImportRefused, match="outside"):
            bring(path)
    monkeypatch.delenv("WAYBILL_IMPORT_FOLDER")
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "production")
    with pytest.raises(ImportRefused, match="WAYBILL_IMPORT_FOLDER"):
        bring(tmp_path / "secret.csv")


@pytest.mark.parametrize("content", ["", " \n", "[1"])
def test_a_file_that_holds_no_rows_is_refused(bring: Import, tmp_path: Path, content: str) -> None:
    path = tmp_path / "leads.json"
    path.write_text(content)
    with pytest.raises(ImportRefused):
        bring(path)
    with pytest.raises(ImportRefused, match="no file"):
        bring(tmp_path / "none.csv")


@pytest.mark.slow
def test_a_hundred_thousand_rows_take_seconds(bring: Import, tmp_path: Path) -> None:
    path = tmp_path / "many.csv"
    path.write_text("email,name\n" + "".join(f"p{n}@example.com,Person {n}\n" for n in range(100_000)))
    assert bring(path).new == 100_000
