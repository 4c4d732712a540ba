"""The journal's file: whole or not at all, the same bytes for the same days, and in the documented format."""

from __future__ import annotations

import csv
import io
import re
import threading
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from include.domain.supplier_invoice import export
from include.domain.supplier_invoice.export import COLUMNS, DayNotOver, export_journal
from include.stock.warehouse import warehouse
from tests.support.orders import add_order, invoice, work
from tests.support.work import rows

DOCUMENTATION = Path(__file__).parents[4] / "docs/journal.md"


@pytest.fixture
def booked(engine: Engine) -> tuple[date, date]:
    """Two invoices and a credit note, booked today; the days to export."""
    order = add_order(engine, {"received": 10}, supplier_name="Acme, Söhne & Co.")
    invoice(engine, order, {"quantity": 4}, number='R;1 "a"')
    invoice(engine, order, {"quantity": 6}, number="R-2")
    work(engine, "supplier_invoice")
    invoice(engine, order, {"quantity": 1}, number="G-1", kind="credit_note", corrects="R-2")
    work(engine, "supplier_invoice")
    (found,) = rows(engine, "select distinct booked_on from journal_lines")
    return found["booked_on"], found["booked_on"] + timedelta(days=1)


def tomorrow(days: tuple[date, date]) -> datetime:
    return datetime.combine(days[1], datetime.min.time(), warehouse().zone)


def test_the_file_holds_what_was_booked_in_the_documented_columns(
    engine: Engine, booked: tuple[date, date], tmp_path: Path
) -> None:
    written = export_journal(engine, *booked, into=tmp_path, now=tomorrow(booked))
    assert written.path.name == f"journal_{booked[0]}_{booked[1]}.csv"
    content = written.path.read_bytes()
    assert not content.startswith(b"\xef\xbb\xbf")
    assert content.count(b"\r\n") == written.lines + 1 == 10
    lines = list(csv.DictReader(io.StringIO(content.decode())))
    first = lines[0]
    assert (first["document"], first["account"], first["debit"], first["credit"]) == (
        'R;1 "a"',
        "3000",
        "10.00",
        "0.00",
    )
    assert (first["cost_centre"], first["tax_code"], first["rate"]) == ("6300", "V19", "1")
    assert [line["kind"] for line in lines[-3:]] == ["credit_note"] * 3
    for number in {line["document"] for line in lines}:
        document = [line for line in lines if line["document"] == number]
        assert round(sum(float(line["debit"]) - float(line["credit"]) for line in document), 2) == 0
    assert tuple(re.findall(r"^\| `(\w+)` \|", DOCUMENTATION.read_text(), re.M)) == COLUMNS


def test_the_same_days_give_the_same_bytes(engine: Engine, booked: tuple[date, date], tmp_path: Path) -> None:
    first = export_journal(engine, *booked, into=tmp_path / "a", now=tomorrow(booked)).path.read_bytes()
    second = export_journal(engine, *booked, into=tmp_path / "b", now=tomorrow(booked)).path.read_bytes()
    again = export_journal(engine, *booked, into=tmp_path / "a", now=tomorrow(booked)).path.read_bytes()
    assert first == second == again


def test_a_day_without_bookings_is_a_file_with_its_header_only(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAYBILL_EXPORT_FOLDER", str(tmp_path / "to accounting"))
    written = export_journal(engine, date(2026, 1, 1), date(2026, 1, 2))
    assert written.path.parent == tmp_path / "to accounting"
    assert written.lines == 0
    assert written.path.read_text() == ",".join(COLUMNS) + "\n"


def test_a_day_that_is_not_over_is_refused(engine: Engine, booked: tuple[date, date], tmp_path: Path) -> None:
    with pytest.raises(DayNotOver):
        export_journal(engine, *booked, into=tmp_path, now=tomorrow(booked) - timedelta(seconds=1))
    assert list(tmp_path.iterdir()) == []


def test_a_failure_in_the_middle_leaves_the_former_file_and_no_draft(
    engine: Engine, booked: tuple[date, date], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = export_journal(engine, *booked, into=tmp_path, now=tomorrow(booked)).path
    before = whole.read_bytes()
    monkeypatch.setattr(export, "_LINES", export._LINES.replace("j.text", "1 / (j.line - 3)"))
    with pytest.raises(Exception, match="division by zero"):
        export_journal(engine, *booked, into=tmp_path, now=tomorrow(booked))
    assert whole.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [whole.name]


def test_an_export_waits_for_whoever_is_writing_to_the_journal(
    engine: Engine, booked: tuple[date, date], tmp_path: Path
) -> None:
    """What is being booked as the day ends is in the day's file."""
    done = threading.Event()
    with engine.connect() as writer:
        writer.execute(text("lock table journal_lines in row exclusive mode"))

        def go() -> None:
            export_journal(engine, *booked, into=tmp_path, now=tomorrow(booked))
            done.set()

        thread = threading.Thread(target=go)
        thread.start()
        assert not done.wait(1)
        writer.rollback()
    thread.join(30)
    assert done.is_set()
