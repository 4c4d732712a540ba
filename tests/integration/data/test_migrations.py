"""The schema goes forward and backward on a database that is in use."""

from __future__ import annotations

import pytest
from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError

from include.data import database
from include.data.database import connect, migrate, migrate_back
from tests.support.work import assert_balanced, change, receive, rows

TABLES = "select table_name from information_schema.tables where table_schema = 'waybill' order by 1"
# all that the first migration knows
CASES = """
    select id, workflow, key, delivery_id, state, stage, owner, outcome, reasons, claim_id, available_at, attempts,
           created_at, updated_at, closed_at
    from cases order by id"""


def test_forward_and_backward_keep_every_case(empty_database_url: URL) -> None:
    url = empty_database_url
    migrate(url)
    engine = connect(url)
    cases = receive(engine, 20)
    change(
        engine, "update cases set state = 'finished', outcome = 'done', closed_at = now() where id = :id", id=cases[0]
    )
    complete = rows(engine, TABLES)
    before = rows(engine, CASES)
    history = rows(engine, "select * from events order by id")
    engine.dispose()
    migrate_back(url, "0001")
    engine = connect(url)
    assert rows(engine, CASES) == before
    assert_balanced(engine)
    engine.dispose()
    migrate(url)
    engine = connect(url)
    assert rows(engine, TABLES) == complete
    assert rows(engine, CASES) == before
    assert rows(engine, "select * from events order by id") == history
    receive(engine, 1)
    engine.dispose()


def test_back_to_nothing_leaves_nothing(database_url: URL) -> None:
    migrate_back(database_url, "base")
    engine = connect(database_url)
    assert [row["table_name"] for row in rows(engine, TABLES)] == ["schema_version"]
    with engine.connect() as connection:
        left = connection.execute(
            text("select proname from pg_proc where pronamespace = 'waybill'::regnamespace")
        ).scalars()
        assert list(left) == []
    engine.dispose()


def test_migrating_twice_is_migrating_once(database_url: URL) -> None:
    migrate(database_url)
    migrate(database_url)


def test_a_migration_that_fails_leaves_the_schema_as_it_was(database_url: URL) -> None:
    engine = connect(database_url)
    receive(engine, 1)
    change(engine, "create view in_the_way as select * from cases")
    with pytest.raises(DBAPIError, match="in_the_way"):
        migrate_back(database_url, "base")
    assert_balanced(engine)
    engine.dispose()


def test_a_server_that_is_too_old_is_named(database_url: URL, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "OLDEST_SERVER", 99)
    with pytest.raises(database.DatabaseTooOld, match="99 or newer"):
        migrate(database_url)


def test_without_an_address_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYBILL_DATABASE_URL", raising=False)
    with pytest.raises(database.DatabaseMissing, match="make up"):
        database.database_url()
