"""The balances can be built from the movements at any time, and whoever went around the ledger is found."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from include.data.database import authored
from include.stock import __main__ as command_line
from include.stock.check import Difference, differences, rebuild
from include.stock.ledger import Place
from include.stock.warehouse import FILE, VARIABLE, sync
from tests.support.ledger import AUTHOR, arrives, assert_sound, do, leaves, moves, prepare, quantities
from tests.support.work import rows


@pytest.fixture
def engine(engine: Engine) -> Engine:
    prepare(engine)
    do(engine, arrives("NUT", 10), moves("NUT", 4, "MAIN", "SHOP"), arrives("MILK", 2, lot="MON"))
    return engine


def damage(engine: Engine, *statements: str) -> None:
    """Change balances as somebody would who switches the database's rules off."""
    with authored(engine, actor=AUTHOR) as connection:
        connection.execute(text("alter table stock_balances disable trigger user"))
        for statement in statements:
            connection.execute(text(statement))
        connection.execute(text("alter table stock_balances enable trigger user"))


def test_what_was_damaged_is_found_and_built_from_the_movements(engine: Engine) -> None:
    damage(
        engine,
        "update stock_balances set quantity = 5 where item = 'NUT' and location = 'MAIN'",
        "update stock_balances set reserved = 1 where item = 'NUT' and location = 'SHOP'",
        "delete from stock_balances where item = 'MILK' and location = 'MAIN'",
    )
    expected = [
        Difference(Place("MILK", "MAIN", "MON"), 0, 2, 0, 0),
        Difference(Place("NUT", "MAIN"), 5, 6, 0, 0),
        Difference(Place("NUT", "SHOP"), 4, 4, 1, 0),
    ]
    with authored(engine, actor=AUTHOR) as connection:
        assert differences(connection) == expected
        assert rebuild(connection) == expected
        assert rebuild(connection) == []
    assert_sound(engine)
    assert quantities(engine, "NUT", ("MAIN", "SHOP")) == [6, 4]
    assert quantities(engine, "MILK", lot="MON") == [2]


def test_only_a_rebuild_may_write_balances_and_only_while_it_runs(engine: Engine) -> None:
    damage(engine, "update stock_balances set quantity = 5 where item = 'NUT' and location = 'MAIN'")
    with authored(engine, actor=AUTHOR) as connection:
        rebuild(connection)
        with pytest.raises(DBAPIError, match="refused"):
            connection.execute(text("update stock_balances set quantity = 0"))


def test_the_command_line_says_what_differs_and_puts_it_right(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command_line, "engine", lambda: engine)
    assert command_line.main(["check"]) == 0
    damage(engine, "update stock_balances set quantity = 5 where item = 'NUT' and location = 'MAIN'")
    assert command_line.main(["check"]) == 1
    assert "NUT at MAIN: kept 5.000000, movements say 6.000000" in capsys.readouterr().out
    assert command_line.main(["rebuild"]) == 0
    assert command_line.main(["check"]) == 0
    assert command_line.main(["show", "NUT"]) == 0
    assert "MAIN" in capsys.readouterr().out
    assert command_line.main(["show", "nut"]) == 2
    assert "there is no item 'nut'" in capsys.readouterr().err


def test_locations_follow_the_declaration(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "warehouse.yaml"
    monkeypatch.setenv(VARIABLE, str(changed))
    declared = FILE.read_text(encoding="utf-8")
    changed.write_text(declared.replace("  COLD:", "  FROST:"), encoding="utf-8")
    with authored(engine, actor=AUTHOR) as connection:
        assert sync(connection) == 2
        assert sync(connection) == 0
    assert rows(engine, "select code, active from stock_locations where code in ('COLD', 'FROST') order by 1") == [
        {"code": "COLD", "active": False},
        {"code": "FROST", "active": True},
    ]


def test_a_place_that_is_below_zero_goes_on_allowing_it(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "warehouse.yaml"
    changed.write_text(FILE.read_text(encoding="utf-8").replace("    negative: true\n", ""), encoding="utf-8")
    do(engine, leaves("NUT", 7, "SHOP"))
    monkeypatch.setenv(VARIABLE, str(changed))
    with pytest.raises(DBAPIError, match="no_stock_below_what_is_reserved"), engine.begin() as connection:
        sync(connection)
    do(engine, moves("NUT", 3, "MAIN", "SHOP"))
    with engine.begin() as connection:
        sync(connection)
    with pytest.raises(Exception, match="not enough of NUT at SHOP"):
        do(engine, leaves("NUT", 1, "SHOP"))


def test_a_place_in_use_keeps_its_kind(engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "warehouse.yaml"
    declared = FILE.read_text(encoding="utf-8")
    changed.write_text(
        declared.replace("title: Main warehouse\n    kind: internal", "title: Main\n    kind: transit"),
        encoding="utf-8",
    )
    monkeypatch.setenv(VARIABLE, str(changed))
    with pytest.raises(DBAPIError, match="MAIN is in use and stays internal"), engine.begin() as connection:
        sync(connection)
