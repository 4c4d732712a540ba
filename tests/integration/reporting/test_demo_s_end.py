"""What the demo prints at its end: where its reports went, and what is to be seen on which page."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

from rich.console import Console
from sqlalchemy import Engine

from include.reporting.intervals import Period, begun
from include.runtime.demo.reports import print_reports
from include.runtime.demo.stage import Stage
from include.runtime.demo.tour import print_tour
from include.runtime.environment import Home
from include.stock.warehouse import warehouse
from tests.support.reports import lead, make, send
from tests.support.work import receive


def stage(engine: Engine, folder: Path) -> tuple[Stage, StringIO]:
    said = StringIO()
    return Stage(Home(folder, 8080), {}, engine, Console(file=said, width=200), 1), said


def test_it_says_where_the_reports_of_today_are_and_who_got_them(engine: Engine, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    lead(engine, now - timedelta(seconds=90))
    today = make(engine, "leads", begun(Period.DAILY, now, warehouse().zone))
    make(engine, "stock", begun(Period.DAILY, now - timedelta(days=9), warehouse().zone))
    send(engine, tmp_path / "reports")
    demo, said = stage(engine, tmp_path)
    print_reports(demo, now - timedelta(minutes=1))
    told = said.getvalue()
    assert f"http://127.0.0.1:8080/waybill/reports/{today.id}" in told
    assert told.count("#revenue-operations") == 1
    assert "sales@" in told
    assert str(tmp_path / "reports" / "preview") in told


def test_it_says_of_each_page_what_is_to_be_seen(engine: Engine, tmp_path: Path) -> None:
    receive(engine, 3)
    demo, said = stage(engine, tmp_path)
    print_tour(demo)
    told = said.getvalue()
    for page in ("board", "cases", "quarantine", "quarantine/duplicates", "effects", "approvals", "alerts", "reports"):
        assert f"http://127.0.0.1:8080/waybill/{page} " in told
    assert "every workflow: 3 cases, 0 wait; 0 are late, 0 soon will be" in told
    assert "no effects in trouble" in told
