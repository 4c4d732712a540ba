"""A report as a document: what its mail carries, and a spreadsheet to reckon on."""

from __future__ import annotations

import base64
import zipfile
from dataclasses import replace
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import pytest
from python_calamine import CalamineWorkbook
from sqlalchemy import Engine

from include.contracts.registry import load_teams
from include.reporting import catalogue
from include.reporting.catalogue import ATTACHED, REPORTS, ReadersUnusable
from include.reporting.documents import DOCUMENTS
from include.reporting.editions import Edition
from include.reporting.intervals import Period
from include.reporting.model import Kind
from include.reporting.workbook import xlsx
from tests.support.reports import at, end_deal, interval, lead, make
from tests.support.work import rows


def edition(report: str, **tables: list[list[Any]]) -> Edition:
    """An edition with these figures, and nothing in the others but totals."""
    empty: dict[str, list[list[Any]]] = {figure.name: [] for figure in REPORTS[report].figures}
    zeros = [[None if column.optional else _least(column.kind) for column in REPORTS[report].figures[0].columns]]
    of, now = interval(), datetime(2026, 3, 3, 4, tzinfo=UTC)
    return Edition(
        1, report, Period.DAILY, of.first, of.since, of.until, False, 2, "0" * 64, "published", None, [], now, now,
        {**empty, "totals": zeros, **tables},
    )  # fmt: skip


def _least(kind: Kind) -> Any:
    return {Kind.TEXT: "", Kind.MONEY: "0.00", Kind.QUANTITY: "0"}.get(kind, 0)


def line(figure: str, first: str) -> list[Any]:
    """A row of a figure of the leads, with nothing but a name."""
    return [first, *(_least(column.kind) for column in REPORTS["leads"].figure(figure).columns[1:])]


def book(found: Edition) -> CalamineWorkbook:
    return CalamineWorkbook.from_filelike(BytesIO(xlsx(REPORTS[found.report], found, interval())))


def sheet(found: Edition, name: str) -> list[list[Any]]:
    return book(found).get_sheet_by_name(name).to_python()


def part(found: Edition, name: str) -> str:
    with zipfile.ZipFile(BytesIO(xlsx(REPORTS[found.report], found, interval()))) as file:
        return file.read(name).decode()


@pytest.mark.parametrize("report", REPORTS)
def test_every_figure_has_a_sheet_and_what_is_told_first_comes_first(report: str) -> None:
    found = edition(report)
    names = book(found).sheet_names
    assert len(names) == len(REPORTS[report].figures)
    assert names[0] == "In short"
    first = sheet(found, "In short")
    assert first[0][0] == f"{REPORTS[report].title}, Mon 2 Mar 2026"
    assert first[1][0] == "2026-03-02 00:00 to 2026-03-03 00:00 Europe/Berlin"
    assert first[2][0] == "Revision 2"
    assert len(first) == 4 + len(REPORTS[report].figures[0].columns)


def test_numbers_are_numbers_days_are_days_and_exact_is_exact() -> None:
    found = edition("leads", won_value=[["EUR", 3, "1234567890.12"], ["XXX", 1, "12345678901234567890.12"]],
                    by_day=[line("by_day", "2026-03-02")])  # fmt: skip
    assert sheet(found, "Value of what was won") == [
        ["Currency", "Deals", "Amount"],
        ["EUR", 3.0, 1234567890.12],
        ["XXX", 1.0, "12345678901234567890.12"],
    ]
    days = sheet(found, "Funnel by day")
    assert days[1][0] == date(2026, 3, 2)
    assert 'formatCode="yyyy-mm-dd"' in part(found, "xl/styles.xml")


def test_headings_stay_where_they_are_and_columns_are_as_wide_as_what_they_hold() -> None:
    found = edition("leads", won_value=[["EUR", 3, "1.00"]])
    written = part(found, "xl/worksheets/sheet4.xml")
    assert 'state="frozen"' in written
    assert 'topLeftCell="A2"' in written
    assert "<cols>" in written


def test_what_looks_like_a_formula_or_a_link_stays_text() -> None:
    evil = ["=cmd|'/c calc'!A1", "+1+1", "@SUM(A1)", "https://evil.example", "{=1+1}"]
    found = edition("leads", by_source=[line("by_source", word) for word in evil])
    assert [row[0] for row in sheet(found, "Funnel by source and campaign")[1:]] == evil
    written = part(found, "xl/worksheets/sheet2.xml")
    assert "<f>" not in written
    assert "hyperlink" not in written


def test_the_same_edition_gives_the_same_bytes() -> None:
    found = edition("leads", won_value=[["EUR", 3, "1.00"]])
    for document in DOCUMENTS.values():
        again = [document.content(REPORTS["leads"], found, interval()) for _ in range(2)]
        assert again[0] == again[1], document.kind
    other = replace(found, written_at=datetime(2026, 3, 4, tzinfo=UTC))
    assert xlsx(REPORTS["leads"], other, interval()) != xlsx(REPORTS["leads"], found, interval())


def test_a_preview_says_that_it_is_one() -> None:
    found = replace(edition("leads"), preview=True)
    assert sheet(found, "In short")[0][0] == "Preview: Leads, Mon 2 Mar 2026"


def test_mails_carry_what_the_readers_asked_for(engine: Engine) -> None:
    end_deal(engine, lead(engine, at(2, 9)), at(2, 15), amount="100.00")
    for report in ("leads", "spend"):
        make(engine, report)
    carried = {
        row["target"].split("/")[0]: [each["filename"] for each in row["payload"]["attachments"]]
        for row in rows(engine, "select target, payload from effects where system = 'mail'")
    }
    assert carried == {
        "leads": ["leads-daily-2026-03-02.pdf"],
        "spend": ["spend-daily-2026-03-02.pdf", "spend-daily-2026-03-02.xlsx"],
    }
    (mail, *_) = rows(engine, "select payload from effects where system = 'mail' and target like 'spend/%'")
    opened = CalamineWorkbook.from_filelike(BytesIO(base64.b64decode(mail["payload"]["attachments"][1]["base64"])))
    assert opened.get_sheet_by_name("In short").to_python()[0][0] == "Spending, Mon 2 Mar 2026"


def test_what_a_mail_can_carry_is_what_can_be_made() -> None:
    assert tuple(DOCUMENTS) == ATTACHED
    teams = load_teams()
    for wrong in ([], "pdf", ["docx"], None):
        with pytest.raises(ReadersUnusable, match="`attach` is a list of pdf and xlsx"):
            catalogue._readers("leads", {"mail": ["sales"], "attach": wrong}, teams)
    assert catalogue._readers("leads", {"mail": ["sales"]}, teams).attach == ("pdf",)
    assert catalogue._readers("leads", {"attach": ["xlsx", "xlsx"]}, teams).attach == ("xlsx",)
