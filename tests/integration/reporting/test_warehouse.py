"""Reports in tables of a database outside: whole, once, exact, and never older than what is there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from sqlalchemy import URL, Engine, create_engine, event, inspect, text

from include.data import database
from include.integrations.systems import Effect, Failed, Mode, PendingEffect, Provider, Sent
from include.reporting import editions
from include.reporting import warehouse as module
from include.reporting.catalogue import REPORTS
from include.reporting.editions import Edition
from include.reporting.going_out import WAREHOUSE, to_programs
from include.reporting.intervals import Interval, Period
from include.reporting.model import Column, Kind
from include.reporting.warehouse import KEYS, Warehouse
from tests.standins.system import Crash
from tests.support.reports import MONDAY, at, end_deal, interval, lead, table
from tests.support.work import change, rows
from waybill.hooks.http import ConnectionUnusable
from waybill.operators.reports import DeliverReportsOperator
from waybill.systems import UnknownSystem, closing_provider

pytestmark = pytest.mark.airflow


@pytest.fixture
def theirs(empty_database_url: URL) -> Iterator[Engine]:
    """The warehouse: another database."""
    found = create_engine(empty_database_url)
    yield found
    found.dispose()


@pytest.fixture
def target(theirs: Engine) -> Engine:
    """What the provider writes with; `theirs` is for those who read."""
    return create_engine(theirs.url)


@pytest.fixture
def ours(engine: Engine, target: Engine) -> Iterator[Warehouse]:
    found = Warehouse(engine, target)
    yield found
    found.close()


def made(engine: Engine, report: str, of: Interval | None = None) -> Edition:
    """An edition of which nothing goes out by itself."""
    return editions.make(engine, module.REPORTS[report], of or interval(), lambda e, i: [], Mode.LIVE)


def planned(engine: Engine, mode: Mode = Mode.LIVE) -> Edition:
    """An edition for the warehouse alone."""

    def only_rows(edition: Edition, of: Interval) -> list[Effect]:
        return [effect for effect in to_programs(edition, of, [WAREHOUSE]) if effect.step == WAREHOUSE]

    return editions.make(engine, REPORTS["leads"], interval(), only_rows, mode)


def effect(edition: Edition, attempts: int = 1) -> PendingEffect:
    return PendingEffect(1, "k", "write_rows", "t", {"edition": edition.id}, attempts)


def put(ours: Provider, edition: Edition) -> Any:
    (outcome,) = ours.apply("write_rows", [effect(edition)])
    return outcome


def kept(theirs: Engine, figure: str, schema: str | None = None) -> list[dict[str, Any]]:
    place = f"{schema}." if schema else ""
    return rows(theirs, f"select * from {place}waybill_{figure} order by period, first_day, line")


def own(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in KEYS}


def test_an_edition_is_rows_of_a_table_for_each_figure(engine: Engine, theirs: Engine, ours: Warehouse) -> None:
    end_deal(engine, lead(engine, at(2, 9), campaign="spring"), at(2, 15), amount="1234567890123.45")
    edition = made(engine, "leads")
    outcome = put(ours, edition)
    assert isinstance(outcome, Sent)
    assert str(theirs.url.database) in outcome.answer["place"]
    (funnel,) = kept(theirs, "leads_by_source")
    assert {name: funnel[name] for name in KEYS} == {
        "period": "daily", "first_day": MONDAY, "line": 1, "revision": 1,
    }  # fmt: skip
    assert (funnel["source"], funnel["campaign"], funnel["leads"], funnel["won_share"]) == ("website", "spring", 1, 1.0)
    (won,) = kept(theirs, "leads_won_value")
    assert won["amount"] == Decimal("1234567890123.45")
    (day,) = kept(theirs, "leads_by_day")
    assert day["day"] == MONDAY
    (about,) = rows(theirs, "select * from waybill_editions")
    assert (about["report"], about["revision"], about["digest"]) == ("leads", 1, edition.digest)
    for figure in REPORTS["leads"].figures:
        assert [own(row) | {"amount": None} for row in kept(theirs, f"leads_{figure.name}")] == [
            row | {"amount": None, **({"day": date.fromisoformat(row["day"])} if "day" in row else {})}
            for row in table(edition, figure.name)
        ]


def test_the_same_again_changes_nothing_and_another_interval_stays(
    engine: Engine, theirs: Engine, ours: Warehouse
) -> None:
    lead(engine, at(2, 9))
    lead(engine, at(3, 9))
    these = [made(engine, "leads", interval(MONDAY + timedelta(days=days))) for days in (0, 1)]
    these.append(made(engine, "leads", interval(period=Period.WEEKLY)))
    for edition in these:
        put(ours, edition)
    names = inspect(theirs).get_table_names()
    before = {name: rows(theirs, f"select * from {name} order by 1, 2, 3, 4") for name in names}
    for edition in these:
        put(ours, edition)
    assert {name: rows(theirs, f"select * from {name} order by 1, 2, 3, 4") for name in names} == before
    assert [(row["period"], row["first_day"], row["leads"]) for row in kept(theirs, "leads_totals")] == [
        ("daily", MONDAY, 1), ("daily", MONDAY + timedelta(days=1), 1), ("weekly", MONDAY, 2),
    ]  # fmt: skip


def test_a_newer_revision_takes_the_place_and_an_older_one_that_is_late_does_not(
    engine: Engine, theirs: Engine, ours: Warehouse
) -> None:
    lead(engine, at(2, 9), source="website")
    lead(engine, at(2, 9), source="fair")
    first = made(engine, "leads")
    put(ours, first)
    change(engine, "delete from report_lead_facts where source = 'fair'")
    change(engine, "update deals d set opened_at = now() from leads l where l.case_id = d.case_id and source = 'fair'")
    second = made(engine, "leads")
    put(ours, second)
    late = put(ours, first)
    assert late.answer["superseded_by_revision"] == 2
    assert [(row["source"], row["revision"]) for row in kept(theirs, "leads_by_source")] == [("website", 2)]


def test_who_reads_meanwhile_sees_the_former_edition_whole(
    engine: Engine, theirs: Engine, target: Engine, ours: Warehouse
) -> None:
    lead(engine, at(2, 9))
    put(ours, made(engine, "leads"))
    lead(engine, at(2, 10))
    second = made(engine, "leads")
    seen: list[tuple[int, ...]] = []

    @event.listens_for(target, "after_cursor_execute")
    def somebody_reads(*called: Any) -> None:
        if called[2].startswith(("DELETE", "INSERT", "UPDATE")):
            seen.append(tuple(row["leads"] for row in kept(theirs, "leads_totals")))

    put(ours, second)
    assert set(seen) == {(1,)}
    assert len(seen) > len(REPORTS["leads"].figures)
    assert [row["leads"] for row in kept(theirs, "leads_totals")] == [2]


def test_a_writer_that_dies_half_way_leaves_the_former_edition(
    engine: Engine, theirs: Engine, target: Engine, ours: Warehouse
) -> None:
    lead(engine, at(2, 9))
    put(ours, made(engine, "leads"))
    lead(engine, at(2, 10))
    second = made(engine, "leads")

    def dies(*called: Any) -> None:
        if called[2].startswith("DELETE FROM waybill_leads_owners"):
            raise Crash

    event.listen(target, "after_cursor_execute", dies)
    with pytest.raises(Crash):
        put(ours, second)
    event.remove(target, "after_cursor_execute", dies)
    assert [row["leads"] for row in kept(theirs, "leads_totals")] == [1]
    assert rows(theirs, "select revision from waybill_editions") == [{"revision": 1}]
    put(ours, second)
    assert [row["leads"] for row in kept(theirs, "leads_totals")] == [2]


def test_two_writers_at_once_end_with_the_newer_revision(engine: Engine, theirs: Engine) -> None:
    lead(engine, at(2, 9))
    first = made(engine, "leads")
    lead(engine, at(2, 10))
    second = made(engine, "leads")
    outcomes: dict[int, Any] = {}

    def write(edition: Edition) -> None:
        ours = Warehouse(engine, create_engine(theirs.url))
        for _ in range(5):  # who creates the tables first is taken for a race, and tried again
            outcomes[edition.revision] = put(ours, edition)
            if isinstance(outcomes[edition.revision], Sent):
                break
            assert not outcomes[edition.revision].permanent
        ours.close()

    threads = [threading.Thread(target=write, args=(each,)) for each in (second, first)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(isinstance(outcome, Sent) for outcome in outcomes.values())
    assert [row["leads"] for row in kept(theirs, "leads_totals")] == [2]


def test_a_new_column_is_added_and_a_former_one_stays_empty(
    engine: Engine, theirs: Engine, ours: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_deal(engine, lead(engine, at(2, 9)), at(2, 15))
    put(ours, made(engine, "leads"))
    leads = REPORTS["leads"]
    value = leads.figure("won_value")
    later = replace(
        value,
        columns=(value.columns[0], value.columns[2], Column("mean", "Mean", Kind.MONEY)),
        query="select 'EUR', 12.50, 6.25",
    )
    release = replace(leads, figures=tuple(later if each is value else each for each in leads.figures), sums=())
    monkeypatch.setattr(module, "REPORTS", {**REPORTS, "leads": release})
    put(ours, made(engine, "leads", interval(MONDAY + timedelta(days=1))))
    former, new = kept(theirs, "leads_won_value")
    assert (former["deals"], former["amount"], former["mean"]) == (1, Decimal("100.00"), None)
    assert (new["deals"], new["amount"], new["mean"]) == (None, Decimal("12.50"), Decimal("6.25"))


def test_a_column_that_cannot_keep_the_values_is_told_and_nothing_is_rounded(
    engine: Engine, theirs: Engine, ours: Warehouse
) -> None:
    end_deal(engine, lead(engine, at(2, 9)), at(2, 15), amount="99.95")
    edition = made(engine, "leads")
    put(ours, edition)
    change(theirs, "alter table waybill_leads_won_value alter column amount type integer")
    outcome = put(ours, edition)
    assert isinstance(outcome, Failed)
    assert outcome.permanent
    assert "column amount of waybill_leads_won_value is INTEGER and cannot hold NUMERIC(38, 2)" in outcome.error
    change(theirs, "alter table waybill_leads_won_value rename to former")
    assert isinstance(put(ours, edition), Sent)
    assert kept(theirs, "leads_won_value")[0]["amount"] == Decimal("99.95")


def test_the_tables_can_be_in_a_schema_of_their_own(engine: Engine, theirs: Engine) -> None:
    lead(engine, at(2, 9))
    edition = made(engine, "leads")
    ours = Warehouse(engine, create_engine(theirs.url), schema="Company figures")
    for _ in range(2):
        assert isinstance(put(ours, edition), Sent)
    ours.close()
    assert kept(theirs, "leads_totals", '"Company figures"')[0]["leads"] == 1
    assert inspect(theirs).get_table_names() == []


def test_what_the_warehouse_does_not_allow_waits_for_a_person_and_what_is_away_is_tried_again(
    engine: Engine, theirs: Engine
) -> None:
    edition = made(engine, "leads")
    role = f"reader_{theirs.url.database}"
    change(theirs, f"create role {role} login password 'shh-9f3'")
    poor = Warehouse(engine, create_engine(theirs.url.set(username=role, password="shh-9f3")))
    refused = put(poor, edition)
    poor.close()
    change(theirs, f"drop role {role}")
    assert refused.permanent
    assert "permission denied" in refused.error
    gone = Warehouse(engine, create_engine(theirs.url.set(database="nowhere", password="shh-9f3")))
    away = put(gone, edition)
    gone.close()
    assert not away.permanent
    assert "shh-9f3" not in refused.error + away.error


def test_it_is_written_for_any_database(engine: Engine, tmp_path: Path) -> None:
    """Nothing but SQLAlchemy's constructs; SQLite has the least of them."""
    end_deal(engine, lead(engine, at(2, 9)), at(2, 15), amount="99.95")
    edition = made(engine, "leads")
    lite = create_engine(f"sqlite:///{tmp_path}/warehouse.db")
    ours = Warehouse(engine, lite)
    for _ in range(2):
        assert isinstance(put(ours, edition), Sent)
    with lite.connect() as connection:
        assert connection.execute(text("select amount, revision from waybill_leads_won_value")).all() == [(99.95, 1)]
    ours.close()


def test_no_column_of_a_figure_is_called_like_those_before_it() -> None:
    for report in REPORTS.values():
        for figure in report.figures:
            assert not {column.name for column in figure.columns} & set(KEYS), (report.name, figure.name)


@pytest.fixture
def connected(engine: Engine, theirs: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", engine.url.render_as_string(hide_password=False))
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "development")
    monkeypatch.setenv("WAYBILL_WAREHOUSE_SCHEMA", "figures")
    url = theirs.url
    connection = {
        "conn_type": "postgres", "host": url.host or url.query.get("host"), "port": url.port, "login": url.username,
        "password": "not-asked-for-1b7", "schema": url.database,
    }  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_WAREHOUSE", json.dumps(connection))
    database.engine.cache_clear()
    yield connection
    database.engine().dispose()
    database.engine.cache_clear()


def run(step: str) -> None:
    DeliverReportsOperator(task_id=step, step=step).execute({"params": {}, "run_id": "manual"})


def test_a_connection_of_airflow_is_all_that_it_needs(
    engine: Engine, theirs: Engine, connected: dict[str, Any]
) -> None:
    lead(engine, at(2, 9))
    planned(engine)
    run(WAREHOUSE)
    assert kept(theirs, "leads_totals", "figures")[0]["leads"] == 1
    (sent,) = rows(engine, "select state, answer, payload from effects where system = 'warehouse'")
    assert sent["state"] == "sent"
    assert "not-asked-for-1b7" not in str(sent)


def test_the_last_good_rows_stay_while_the_warehouse_is_away(
    engine: Engine, theirs: Engine, connected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    lead(engine, at(2, 9))
    planned(engine)
    run(WAREHOUSE)
    lead(engine, at(2, 10))
    planned(engine)
    away = json.dumps({**connected, "schema": "nowhere"})
    with monkeypatch.context() as moved:
        moved.setenv("AIRFLOW_CONN_WAYBILL_WAREHOUSE", away)
        with pytest.raises(AirflowException, match="warehouse has not taken 1 reports yet"):
            run(WAREHOUSE)
    assert kept(theirs, "leads_totals", "figures")[0]["leads"] == 1
    change(engine, "update effects set available_at = now()")
    run(WAREHOUSE)
    assert kept(theirs, "leads_totals", "figures")[0]["leads"] == 2


def test_a_refused_report_leaves_the_last_good_rows(engine: Engine, theirs: Engine, connected: dict[str, Any]) -> None:
    lead(engine, at(2, 9))
    planned(engine)
    run(WAREHOUSE)
    change(engine, "update report_lead_facts set processed_at = received_at - interval '1 hour'")
    assert not planned(engine).published
    run(WAREHOUSE)
    assert rows(theirs, "select revision from figures.waybill_editions") == [{"revision": 1}]


def test_outside_production_the_warehouse_gets_nothing(
    engine: Engine, theirs: Engine, connected: dict[str, Any]
) -> None:
    planned(engine, Mode.CAPTURE)
    run(WAREHOUSE)
    assert "figures" not in inspect(theirs).get_schema_names()
    assert rows(engine, "select state from effects where system = 'warehouse'") == [{"state": "sent"}]


def test_without_a_connection_or_with_a_wrong_one_it_says_so(
    engine: Engine, connected: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in ("http", "nothing_known"):
        monkeypatch.setenv("AIRFLOW_CONN_WAYBILL_WAREHOUSE", json.dumps({**connected, "conn_type": wrong}))
        with pytest.raises(ConnectionUnusable, match="waybill_warehouse"), closing_provider("warehouse"):
            pass
    monkeypatch.delenv("AIRFLOW_CONN_WAYBILL_WAREHOUSE")
    with pytest.raises(AirflowSkipException, match="no warehouse is connected"):
        run(WAREHOUSE)
    with pytest.raises(UnknownSystem, match="make the connection waybill_warehouse"), closing_provider("warehouse"):
        pass
