"""Reports in Google spreadsheets: the latest edition, whole, as values, under faults; by a service account's key."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.asymmetric import rsa
from sqlalchemy import Engine, text

from include.data import database
from include.integrations.google import KeyUnusable, ServiceAccount
from include.integrations.http import HttpClient, HttpSystem, Retries
from include.integrations.systems import Effect, Failed, Mode, PendingEffect, Sent
from include.reporting import editions
from include.reporting import sheets as module
from include.reporting.catalogue import REPORTS
from include.reporting.editions import Edition, deliveries
from include.reporting.going_out import SHEETS, to_programs
from include.reporting.intervals import Interval, Period
from include.reporting.sheets import SCOPE, Sheets, SpreadsheetUnusable, spreadsheet_id, worksheets
from tests.standins.sheets import OTHER, SHARED, Google, Refusal, Spreadsheet, google
from tests.support.reports import MONDAY, at, end_deal, interval, lead
from tests.support.work import change, rows
from waybill.hooks.http import ConnectionUnusable
from waybill.hooks.sheets import SheetsHook
from waybill.operators.reports import DeliverReportsOperator
from waybill.reports import connected_steps

pytestmark = pytest.mark.airflow

ADDRESS = f"https://docs.google.com/spreadsheets/d/{SHARED}"


@pytest.fixture(scope="module")
def running() -> Iterator[Google]:
    with google() as found:
        yield found


@pytest.fixture
def held(running: Google, monkeypatch: pytest.MonkeyPatch) -> Google:
    """Google with one spreadsheet that is shared with Waybill, and one that is not."""
    monkeypatch.setenv("WAYBILL_SECRET_KEY", Fernet.generate_key().decode())
    running.spreadsheets = {SHARED: Spreadsheet({running.email}), OTHER: Spreadsheet()}
    running.life = 3599.0
    for kept in (running.tokens, running.assertions, running.calls, running.faults):
        kept.clear()
    return running


@contextmanager
def writer(engine: Engine, held: Google, attempts: int) -> Iterator[Sheets]:
    account = ServiceAccount.read(held.keyfile)
    system = HttpSystem(
        name="waybill_sheets",
        base_urls=(held.address,),
        auth=account.oauth(SCOPE, "waybill_sheets"),
        retries=Retries(attempts=attempts, first=0.01, longest=0.05),
    )
    found = Sheets(engine, HttpClient(system, engine), dict.fromkeys(REPORTS, SHARED), account.email)
    yield found
    found.close()


@pytest.fixture
def ours(engine: Engine, held: Google) -> Iterator[Sheets]:
    with writer(engine, held, attempts=2) as found:
        yield found


def made(engine: Engine, report: str = "leads", of: Interval | None = None) -> Edition:
    """An edition of which nothing goes out by itself."""
    return editions.make(engine, REPORTS[report], of or interval(), lambda e, i: [], Mode.LIVE)


def planned(engine: Engine, mode: Mode = Mode.LIVE) -> Edition:
    """An edition for the spreadsheet alone."""

    def only_sheets(edition: Edition, of: Interval) -> list[Effect]:
        return [effect for effect in to_programs(edition, of, [SHEETS]) if effect.step == SHEETS]

    return editions.make(engine, REPORTS["leads"], interval(), only_sheets, mode)


def put(ours: Sheets, edition: Edition) -> Any:
    (outcome,) = ours.apply("write_sheets", [PendingEffect(1, "k", "write_sheets", "t", {"edition": edition.id}, 1)])
    return outcome


def test_an_edition_is_a_worksheet_for_each_figure(engine: Engine, held: Google, ours: Sheets) -> None:
    end_deal(engine, lead(engine, at(2, 9), campaign='=HYPERLINK("http://evil")'), at(2, 15), amount="1234567.89")
    edition = made(engine)
    assert put(ours, edition) == Sent({"place": ADDRESS, "worksheets": 7})
    book = held.spreadsheets[SHARED]
    about = dict(book.shown("leads_daily"))
    assert (about["Report"], about["First day"], about["Revision"]) == ("Leads", MONDAY, 1)
    assert about["Page"].endswith(f"/waybill/reports/{edition.id}")
    titles, row = book.shown("leads_daily_by_source")
    assert titles[:3] == ["Source", "Campaign", "Leads"]
    assert row == ["website", '=HYPERLINK("http://evil")', 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    assert book.shown("leads_daily_won_value")[1] == ["EUR", 1.0, 1234567.89]
    assert book.shown("leads_daily_by_day")[1][0] == MONDAY
    kinds = {
        kind for sheet in book.sheets for cell in sheet.cells.values() for kind in cell.get("userEnteredValue", {})
    }
    assert kinds == {"stringValue", "numberValue"}, "nothing is read as a formula"
    assert book.titled("leads_daily_by_source").properties["gridProperties"]["frozenRowCount"] == 1


def test_a_number_that_a_spreadsheet_would_round_is_text(engine: Engine) -> None:
    edition = made(engine)
    for amount, kind in (("1234567890123.45", "numberValue"), ("12345678901234.56", "stringValue")):
        cells = worksheets(replace(edition, tables={**edition.tables, "won_value": [["EUR", 1, amount]]}))
        assert list(cells["leads_daily_won_value"][1][2]["userEnteredValue"]) == [kind]


def test_the_same_again_changes_nothing_and_other_worksheets_stay(engine: Engine, held: Google, ours: Sheets) -> None:
    lead(engine, at(2, 9))
    book = held.spreadsheets[SHARED]
    book.titled("Sheet1").cells[0, 0] = {"userEnteredValue": {"stringValue": "a person's own"}}
    edition, week = made(engine), made(engine, of=interval(period=Period.WEEKLY))
    put(ours, edition)
    put(ours, week)
    before = [(sheet.properties, sheet.cells) for sheet in book.sheets]
    put(ours, edition)
    assert [(sheet.properties, sheet.cells) for sheet in book.sheets] == before
    assert book.shown("Sheet1") == [["a person's own"]]
    assert len(book.sheets) == 1 + 7 + 7


def test_only_the_latest_edition_is_there_whatever_comes_late(engine: Engine, held: Google, ours: Sheets) -> None:
    lead(engine, at(2, 9))
    monday, tuesday = made(engine), made(engine, of=interval(MONDAY + timedelta(days=1)))
    put(ours, tuesday)
    assert put(ours, monday).answer["superseded_by"] == tuesday.id
    book = held.spreadsheets[SHARED]
    assert dict(book.shown("leads_daily"))["First day"] == MONDAY + timedelta(days=1)
    assert (book.changes, book.shown("leads_daily_by_source")) == (1, [book.shown("leads_daily_by_source")[0]])
    lead(engine, at(3, 9))
    again = made(engine, of=interval(MONDAY + timedelta(days=1)))
    put(ours, again)
    assert put(ours, tuesday).answer["superseded_by"] == again.id
    assert dict(book.shown("leads_daily"))["Revision"] == 2
    assert len(book.shown("leads_daily_by_source")) == 2


def test_fewer_rows_leave_nothing_of_the_former_ones_and_more_rows_make_room(
    engine: Engine, held: Google, ours: Sheets
) -> None:
    for number in range(30):
        lead(engine, at(2, 9), source=f"source {number}")
    many = made(engine)
    put(ours, many)
    book = held.spreadsheets[SHARED]
    assert len(book.shown("leads_daily_by_source")) == 31
    put(ours, made(engine, of=interval(MONDAY + timedelta(days=1))))
    assert len(book.shown("leads_daily_by_source")) == 1
    book.titled("leads_daily_by_source").properties["gridProperties"].update(rowCount=2, columnCount=1)
    for number in range(5):
        lead(engine, at(4, 9), source=f"source {number}")
    put(ours, made(engine, of=interval(MONDAY + timedelta(days=2))))
    assert len(book.shown("leads_daily_by_source")) == 6


def test_an_answer_that_is_lost_is_settled_by_writing_it_again(engine: Engine, held: Google, ours: Sheets) -> None:
    lead(engine, at(2, 9))
    edition = made(engine)
    held.faults = ["fine", "lost", "lost"]
    first = put(ours, edition)
    assert isinstance(first, Failed)
    assert not first.permanent, "the worksheets that are there already are no reason to give up"
    assert isinstance(put(ours, edition), Sent)
    assert len(held.spreadsheets[SHARED].sheets) == 8


def test_a_call_that_is_refused_has_changed_nothing(engine: Engine, held: Google, ours: Sheets) -> None:
    lead(engine, at(2, 9))
    put(ours, made(engine))
    lead(engine, at(2, 10))
    second = made(engine)
    held.faults = ["fine", Refusal(400, "INVALID_ARGUMENT", "You are trying to edit a protected cell or object.")]
    refused = put(ours, second)
    assert (refused.permanent, "protected cell" in refused.error) == (True, True)
    assert dict(held.spreadsheets[SHARED].shown("leads_daily"))["Revision"] == 1


QUOTA = "Quota exceeded for quota metric 'Write requests' and limit 'Write requests per minute per user'"


DENIED = "The caller does not have permission"
FAULTS: dict[str, tuple[Refusal, str | None]] = {
    "too many calls": (Refusal(429, "RESOURCE_EXHAUSTED", QUOTA, reason="RATE_LIMIT_EXCEEDED"), None),
    "too many, as told formerly": (Refusal(403, "PERMISSION_DENIED", "Slow down", former="rateLimitExceeded"), None),
    "away": (Refusal(503, "UNAVAILABLE", "The service is currently unavailable."), None),
    "a token that is not taken": (Refusal(401, "UNAUTHENTICATED", "invalid authentication credentials"), None),
    "turned off": (Refusal(403, "PERMISSION_DENIED", "no", reason="SERVICE_DISABLED"), "turn it on there"),
    "not shared": (Refusal(403, "PERMISSION_DENIED", DENIED), f"share the spreadsheet {ADDRESS} with {Google.email}"),
    "gone": (Refusal(404, "NOT_FOUND", "Requested entity was not found."), f"no spreadsheet {ADDRESS}"),
}
"""What Google answers, and what a person is told to do; None where it passes by itself."""


@pytest.mark.parametrize("kind", FAULTS)
def test_what_passes_is_tried_later_and_what_does_not_says_what_to_do(engine: Engine, held: Google, kind: str) -> None:
    edition = made(engine)
    fault, told = FAULTS[kind]
    held.faults = [fault, fault]
    with writer(engine, held, attempts=1) as ours:
        outcome = put(ours, edition)
    assert isinstance(outcome, Failed)
    assert outcome.permanent == (told is not None), outcome
    assert (told or str(fault.status)) in outcome.error
    if "too many" in kind:
        assert (outcome.retry_after or 0) >= 10
    assert "ya29" not in outcome.error


def test_a_token_is_asked_for_once_by_a_signed_assertion(engine: Engine, held: Google, ours: Sheets) -> None:
    edition = made(engine)
    for _ in range(3):
        assert isinstance(put(ours, edition), Sent)
    (claims,) = held.assertions
    assert (claims["iss"], claims["scope"], claims["kid"]) == (held.email, SCOPE, "k-1")
    assert claims["exp"] - claims["iat"] == 3600
    held.tokens.clear()
    assert isinstance(put(ours, edition), Sent), "a token that is no longer taken is renewed"
    assert len(held.assertions) == 2
    (stored,) = rows(engine, "select name, access_token from credentials")
    assert b"ya29" not in bytes(stored["access_token"])


def test_a_key_that_was_withdrawn_is_told_without_the_key(
    engine: Engine, held: Google, ours: Sheets, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    edition = made(engine)
    secret = held.keyfile["private_key"]
    monkeypatch.setattr(held, "key", rsa.generate_private_key(public_exponent=65537, key_size=2048))
    outcome = put(ours, edition)
    assert isinstance(outcome, Failed)
    assert not outcome.permanent
    assert "Invalid JWT Signature" in outcome.error
    said = outcome.error + caplog.text + repr(rows(engine, "select * from credentials"))
    for line in (*secret.strip().splitlines(), "eyJ"):
        assert line not in said


def test_a_writer_that_waits_for_another_looks_again_which_edition_is_the_latest(
    engine: Engine, held: Google, ours: Sheets
) -> None:
    edition, outcomes = made(engine), []
    waiting = threading.Thread(target=lambda: outcomes.append(put(ours, edition)))
    with engine.begin() as other:
        other.execute(text("select pg_advisory_xact_lock(hashtextextended('sheets/leads/daily', 1))"))
        waiting.start()
        until = time.monotonic() + 20
        while not rows(engine, "select 1 from pg_locks where locktype = 'advisory' and not granted"):
            assert time.monotonic() < until
            time.sleep(0.02)
        newer = made(engine, of=interval(MONDAY + timedelta(days=1)))
        assert held.calls == []
    waiting.join()
    assert outcomes[0].answer["superseded_by"] == newer.id
    assert held.calls == []


@pytest.fixture
def connection(engine: Engine, held: Google, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "development")
    extra = {"keyfile_dict": json.dumps(held.keyfile), "spreadsheet": f"{ADDRESS}/edit#gid=0"}
    fields = {"conn_type": "google_sheets", "host": held.address, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_SHEETS", json.dumps(fields))
    database.engine.cache_clear()
    yield fields
    database.engine().dispose()
    database.engine.cache_clear()


def with_extra(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], **extra: Any) -> None:
    changed = {**fields, "extra": {**fields["extra"], **extra}}
    monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_SHEETS", json.dumps(changed))


def run(step: str) -> None:
    DeliverReportsOperator(task_id=step, step=step).execute({"params": {}, "run_id": "manual"})


def test_a_connection_of_airflow_is_all_that_it_needs(
    engine: Engine, held: Google, connection: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    lead(engine, at(2, 9))
    edition = planned(engine)
    run(SHEETS)
    assert held.spreadsheets[SHARED].shown("leads_daily_totals")[1][0] == 1
    (sent,) = rows(engine, "select state, answer, payload, error from effects where system = 'sheets'")
    assert sent["state"] == "sent"
    with engine.connect() as reading:
        (told,) = deliveries(reading, edition.effects).values()
    assert (told.system, told.to) == ("sheets", ADDRESS)
    everything = str(sent) + caplog.text
    assert "PRIVATE KEY" not in everything
    assert "ya29" not in everything


def test_the_last_good_figures_stay_while_google_is_away_and_when_a_report_is_refused(
    engine: Engine, held: Google, connection: dict[str, Any]
) -> None:
    lead(engine, at(2, 9))
    planned(engine)
    run(SHEETS)
    lead(engine, at(2, 10))
    planned(engine)
    held.faults = [FAULTS["too many, as told formerly"][0]] * 9
    with pytest.raises(AirflowException, match="sheets has not taken 1 reports yet"):
        run(SHEETS)
    book = held.spreadsheets[SHARED]
    assert dict(book.shown("leads_daily"))["Revision"] == 1
    held.faults.clear()
    change(engine, "update effects set available_at = now()")
    change(engine, "update rate_limits set paused_until = null, due_at = now()")
    run(SHEETS)
    assert dict(book.shown("leads_daily"))["Revision"] == 2
    change(engine, "update report_lead_facts set processed_at = received_at - interval '1 hour'")
    assert not planned(engine).published
    run(SHEETS)
    assert dict(book.shown("leads_daily"))["Revision"] == 2


def test_outside_production_no_spreadsheet_is_touched(engine: Engine, held: Google, connection: dict[str, Any]) -> None:
    planned(engine, Mode.CAPTURE)
    run(SHEETS)
    assert (held.calls, held.assertions) == ([], [])
    assert rows(engine, "select state from effects where system = 'sheets'") == [{"state": "sent"}]


def test_each_report_goes_where_the_connection_says(
    engine: Engine, held: Google, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SHEETS in connected_steps("leads")
    with_extra(monkeypatch, connection, spreadsheet=None, spreadsheets=json.dumps({"spend": OTHER}))
    assert (SHEETS in connected_steps("spend"), SHEETS in connected_steps("leads")) == (True, False)
    assert SheetsHook().spreadsheets() == {"spend": OTHER}
    with_extra(monkeypatch, connection, spreadsheets={"spend": OTHER})
    assert SheetsHook().spreadsheets() == {**dict.fromkeys(REPORTS, SHARED), "spend": OTHER}
    monkeypatch.delenv("AIRFLOW_CONN_WAYBILL_SHEETS")
    assert SHEETS not in connected_steps("leads")
    with pytest.raises(AirflowSkipException, match="no sheets is connected"):
        run(SHEETS)


def test_airflows_test_button_says_what_is_wrong(
    held: Google, connection: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert SheetsHook().test_connection() == (True, f"{held.email} sees 1 spreadsheets")
    with_extra(monkeypatch, connection, spreadsheet=OTHER)
    ok, said = SheetsHook().test_connection()
    assert (ok, f"shared with {held.email}" in said) == (False, True)
    with_extra(monkeypatch, connection, spreadsheet=None)
    assert SheetsHook().test_connection() == (False, "there is no spreadsheet in the extra")
    broken = {**held.keyfile, "private_key": "shh-not-a-key"}
    for wrong in (
        {"keyfile_dict": json.dumps(broken)},
        {"keyfile_dict": "shh"},
        {"keyfile_dict": None},
        {"spreadsheet": "https://example.com/x"},
        {"spreadsheets": "[1]"},
        {"spreadsheets": {"nothing": SHARED}},
    ):
        with_extra(monkeypatch, connection, **wrong)
        with pytest.raises(ConnectionUnusable, match="connection waybill_sheets") as refused:
            SheetsHook().get_provider()
        assert "shh" not in str(refused.value)
        assert SheetsHook().test_connection()[0] is False


def test_addresses_and_keys_are_read() -> None:
    for written in (SHARED, ADDRESS, f"{ADDRESS}/edit?usp=sharing#gid=1", f" {ADDRESS} "):
        assert spreadsheet_id(written) == SHARED
    for wrong in ("", "short", "https://docs.google.com/document/d/" + SHARED, "../../" + SHARED):
        with pytest.raises(SpreadsheetUnusable):
            spreadsheet_id(wrong)
    with pytest.raises(KeyUnusable):
        ServiceAccount.read("[]")


def test_titles_of_worksheets_are_short_enough_and_each_once(engine: Engine) -> None:
    titles = [
        f"{report.name}_{period}_{figure.name}"
        for report in REPORTS.values() for figure in report.figures for period in Period
    ]  # fmt: skip
    assert len(set(titles)) == len(titles)
    assert max(map(len, titles)) <= 100
    assert module.BASE_URL.startswith("https://")
