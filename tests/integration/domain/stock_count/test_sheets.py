"""A sheet goes to its counter, tells nothing of the books, and is open until each of its lines is counted."""

from __future__ import annotations

import base64
import json
import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Engine

from include.approvals.forms import FormRefused
from include.cases import store
from include.domain.stock_count.discard import DiscardRefused, discard
from include.domain.stock_count.entry import entry
from include.monitoring.stock_exceptions.findings import find
from tests.support import stock as requests
from tests.support.counts import claim, enter, sheet, take, work
from tests.support.stock import approved, on_hand, prepare, state, stock
from tests.support.work import assert_balanced, change, rows

BOOKS = "7919"
"""How many lamps the books hold: a number that stands nowhere by accident."""


@pytest.fixture(autouse=True)
def _stock(engine: Engine) -> None:
    prepare(engine)
    stock(engine, "BOLT-8", 100)
    stock(engine, "LAMP", BOOKS)
    stock(engine, "FLOUR", "12.5", lot="L1")


def _owner(engine: Engine, case: int) -> str:
    return str(rows(engine, "select owner from cases where id = :id", id=case)[0]["owner"])


def _mails(engine: Engine) -> list[dict[str, Any]]:
    return [row["payload"] for row in rows(engine, "select payload from effects where system = 'mail' order by id")]


def _lines(engine: Engine, case: int) -> list[tuple[str, Any, Any]]:
    found = rows(
        engine, "select item, counted, difference from count_sheet_lines where case_id = :id order by line", id=case
    )
    return [(row["item"], row["counted"], row["difference"]) for row in found]


def _count(engine: Engine, number: str | None, *rows_: str, **more: Any) -> int:
    """Enter lines, take the count through its steps with everybody's approval, and let the sheet look again."""
    case = enter(engine, number, "item,lot,counted\n" + "\n".join(rows_) + "\n", **more)
    requests.work(engine)
    if state(engine, case)[:2] == ("waiting", "approve"):
        approved(engine, case)
        requests.work(engine)
    work(engine)
    return case


def test_the_sheet_goes_to_its_counter_with_a_file_to_fill_in(engine: Engine) -> None:
    case, number = sheet(engine, "LAMP", "FLOUR/L1")
    work(engine)
    assert (state(engine, case)[:2], _owner(engine, case)) == (("waiting", "await_count"), "olaf.winter")
    (mail,) = _mails(engine)
    assert mail["to"] == "olaf.winter@nordlicht.example"
    assert number in mail["subject"]
    assert "LAMP Desk lamp" in mail["text"]
    assert "FLOUR Flour, lot L1, in kg" in mail["text"]
    (file,) = mail["attachments"]
    assert base64.b64decode(file["base64"]).decode("utf-8-sig").splitlines() == [
        "item,title,lot,counted,unit,note", "LAMP,Desk lamp,,,pcs,", "FLOUR,Flour,L1,,kg,",
    ]  # fmt: skip


def test_what_the_books_hold_stands_nowhere_before_a_blind_count(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in the mail or its file, on the sheet, in the timeline, in the form's answer or in a log."""
    caplog.set_level(logging.DEBUG, "include")
    case, number = sheet(engine, "LAMP", "BOLT-8")
    work(engine)
    form = {"sheet": number, "lines": "item,counted\nBOLT-8,100\n", "counted_at": datetime.now(UTC).isoformat()}
    with engine.connect() as connection:
        made = entry(connection, form, account="olaf.winter", form_id="1")
    written = [
        rows(engine, f"select * from {table}")
        for table in ("cases", "events", "effects", "deliveries", "count_sheets", "count_sheet_lines", "count_progress")
    ]
    told = json.dumps([written, made.document, list(made.missing), list(made.found)], default=str) + caplog.text
    (mail,) = _mails(engine)
    told += base64.b64decode(mail["attachments"][0]["base64"]).decode()
    assert "LAMP" in told
    assert BOOKS not in told
    assert list(made.missing) == ["LAMP"]
    assert state(engine, case)[0] == "waiting"


def test_a_sheet_that_is_not_blind_shows_the_books(engine: Engine) -> None:
    sheet(engine, "LAMP", "FLOUR/L1", blind=False)
    work(engine)
    assert f"LAMP Desk lamp, in pcs, {BOOKS} in the books" in _mails(engine)[0]["text"]
    assert "lot L1, in kg, 12.5 in the books" in _mails(engine)[0]["text"]


def test_a_count_without_differences_closes_the_sheet(engine: Engine) -> None:
    case, number = sheet(engine, "LAMP", "BOLT-8")
    work(engine)
    counted = _count(engine, number, f"LAMP,,{BOOKS}", "BOLT-8,,100")
    assert state(engine, counted)[0] == "finished"
    assert state(engine, case) == ("finished", "log", "counted, no difference")
    assert rows(engine, "select 1 from stock_movements where case_id = :id", id=counted) == []
    assert_balanced(engine)


def test_a_sheet_is_counted_in_parts(engine: Engine) -> None:
    case, number = sheet(engine, "LAMP", "BOLT-8", "FLOUR/L1")
    work(engine)
    _count(engine, number, "BOLT-8,,98")
    assert (state(engine, case)[0], _owner(engine, case)) == ("waiting", "olaf.winter")
    _count(engine, number, f"LAMP,,{BOOKS}", "FLOUR,L1,12.25")
    assert state(engine, case) == ("finished", "log", "counted, 2 differences")
    assert _lines(engine, case) == [
        ("LAMP", Decimal(BOOKS), 0), ("BOLT-8", 98, -2), ("FLOUR", Decimal("12.25"), Decimal("-0.25")),
    ]  # fmt: skip
    assert (on_hand(engine, "BOLT-8"), on_hand(engine, "FLOUR")) == (98, Decimal("12.25"))


def test_what_is_counted_once_more_holds(engine: Engine) -> None:
    case, number = sheet(engine, "LAMP", "BOLT-8")
    work(engine)
    _count(engine, number, "BOLT-8,,90")
    _count(engine, number, "BOLT-8,,99")
    _count(engine, number, f"LAMP,,{BOOKS}")
    assert _lines(engine, case) == [("LAMP", Decimal(BOOKS), 0), ("BOLT-8", 99, 9)]
    assert on_hand(engine, "BOLT-8") == 99


def test_what_was_sold_between_counting_and_entering_is_no_difference(engine: Engine) -> None:
    case, number = sheet(engine, "BOLT-8")
    work(engine)
    counted_at = datetime.now(UTC) - timedelta(hours=3)
    sold = requests.request(engine, "issue", {"item": "BOLT-8", "quantity": 30})
    requests.work(engine)
    assert state(engine, sold)[0] == "finished"
    _count(engine, number, "BOLT-8,,100", counted_at=counted_at.isoformat())
    assert state(engine, case)[2] == "counted, no difference"
    assert on_hand(engine, "BOLT-8") == 70


def test_what_is_found_beside_the_sheet_is_counted_too(engine: Engine) -> None:
    case, number = sheet(engine, "BOLT-8")
    work(engine)
    _count(engine, number, "BOLT-8,,100", "MYSTERY,,3")
    assert state(engine, case)[2] == "counted, no difference"
    assert on_hand(engine, "MYSTERY") == 3


def test_an_item_that_there_is_not_keeps_the_sheet_open(engine: Engine) -> None:
    case, number = sheet(engine, "BOLT-8")
    work(engine)
    wrong = _count(engine, number, "BOLT-9,,100")
    assert state(engine, wrong)[0] == "quarantined"
    assert state(engine, case)[0] == "waiting"
    store.discard(engine, [wrong], reason="a slip", actor="user:olaf.winter")
    _count(engine, number, "BOLT-8,,100")
    assert state(engine, case)[0] == "finished"


def test_whoever_may_not_post_there_counts_nothing(engine: Engine) -> None:
    case, number = sheet(engine, "BOLT-8", counter="jonas.braun")
    work(engine)
    assert state(engine, case)[0] == "quarantined"
    assert requests.reasons(engine, case) == ["counter.unfit"]
    requests.release(engine, case, counter="olaf.winter")
    work(engine)
    assert state(engine, case)[0] == "waiting"
    assert [mail["to"] for mail in _mails(engine)] == ["olaf.winter@nordlicht.example"]
    with pytest.raises(FormRefused, match="Jonas Braun may not post at MAIN"):
        enter(engine, number, "item,counted\nBOLT-8,100\n", account="jonas.braun")
    with pytest.raises(FormRefused, match="no one person's"):
        enter(engine, number, "item,counted\nBOLT-8,100\n", account="admin")
    with pytest.raises(FormRefused, match="Jonas Braun may not post at MAIN"):
        enter(engine, number, "item,counted\nBOLT-8,100\n", account="admin", counter="jonas.braun")


def test_a_count_is_refused_that_cannot_be_of_the_sheet(engine: Engine) -> None:
    case, number = sheet(engine, "BOLT-8")
    work(engine)
    lines = "item,counted\nBOLT-8,100\n"
    for form, told in (
        ({"number": "CS-1"}, "there is no count sheet CS-1"),
        ({"number": None}, "sheet's number"),
        ({"counted_at": None}, "when it was counted"),
        ({"counted_at": "yesterday"}, "no moment"),
        ({"counted_at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()}, "still to come"),
    ):
        with pytest.raises(FormRefused, match=told):
            enter(engine, **{"number": number, "lines": lines, **form})
    discard(engine, number, reason="not needed", account="lena.hoffmann", actor="user:lena.hoffmann")
    with pytest.raises(FormRefused, match="is closed"):
        enter(engine, number, lines)
    assert state(engine, case)[0] == "rejected"


def test_a_count_of_a_place_without_a_sheet(engine: Engine) -> None:
    _count(engine, None, "BOLT-8,,97", location="MAIN")
    assert on_hand(engine, "BOLT-8") == 97


def test_a_sheet_is_discarded_with_a_reason_by_those_who_may_post_there(engine: Engine) -> None:
    case, number = sheet(engine, "BOLT-8")
    work(engine)
    by_lena = {"account": "lena.hoffmann", "actor": "user:lena.hoffmann"}
    with pytest.raises(DiscardRefused, match="with a reason"):
        discard(engine, number, reason=" ", **by_lena)
    with pytest.raises(DiscardRefused, match="no count sheet"):
        discard(engine, "CS-0", reason="why", **by_lena)
    with pytest.raises(DiscardRefused, match="may not post at MAIN"):
        discard(engine, number, reason="why", account="jonas.braun", actor="user:jonas.braun")
    assert discard(engine, f" {number} ", reason="moved", **by_lena) == case
    assert state(engine, case) == ("rejected", "await_count", "moved")
    with pytest.raises(DiscardRefused, match="is rejected"):
        discard(engine, number, reason="again", **by_lena)
    assert_balanced(engine)


def test_a_sheet_that_is_not_counted_in_time_is_its_keepers_managers_concern(engine: Engine) -> None:
    case, number = sheet(engine, "BOLT-8", "LAMP")  # for a Monday; two working days on it is Wednesday, 17:00
    today, _ = sheet(engine, "FLOUR/L1", planned_for=datetime.now(UTC).date().isoformat())
    work(engine)
    _count(engine, number, "LAMP,,7919")
    due = {row["case_id"]: row["due_at"] for row in rows(engine, "select case_id, due_at from count_sheets")}
    assert due[case] == datetime(2026, 3, 4, 16, tzinfo=UTC)
    assert due[today] > datetime.now(UTC)
    with engine.connect() as connection:
        (late,) = [found for found in find(connection) if found.kind == "count_overdue"]
    assert (late.case_id, late.location, late.told) == (case, "MAIN", f"{number}, lines for olaf.winter: 1")
    assert late.owner == "olaf.winter", "the manager of lena.hoffmann, who keeps MAIN"


def test_a_run_that_dies_mails_the_sheet_once(engine: Engine) -> None:
    case, _ = sheet(engine, "BOLT-8")
    position = claim(engine)
    assert position
    take(engine, position, "read_sheet")
    take(engine, position, "announce")
    store.put_back_run(engine, "stock_count", run_id=position.run_id)
    change(engine, "update cases set stage = 'capture' where id = :id", id=case)
    work(engine)
    assert state(engine, case)[0] == "waiting"
    assert len(rows(engine, "select 1 from mailbox")) == 1


def test_the_same_number_twice_is_set_aside(engine: Engine) -> None:
    _, number = sheet(engine, "BOLT-8")
    work(engine)
    second, _ = sheet(engine, "LAMP", number=number)
    work(engine)
    assert requests.reasons(engine, second) == ["sheet.number"]


def test_a_sheet_of_what_is_not_there_is_set_aside(engine: Engine) -> None:
    case, _ = sheet(engine, "NEVER", location="NOWHERE", planned_for="soon")
    work(engine)
    assert requests.reasons(engine, case) == ["location.unknown", "planned_for.invalid", "item.unknown"]
