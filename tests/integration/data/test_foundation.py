"""The database itself refuses what must never be, whoever writes to it."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from include.data.database import driver
from tests.support.work import change, receive, rows


@pytest.mark.parametrize("statement", ["update events set kind = 'x'", "delete from events", "truncate events"])
def test_an_event_is_never_changed(engine: Engine, statement: str) -> None:
    receive(engine)
    with pytest.raises(DBAPIError, match="append-only"):
        change(engine, statement)


@pytest.mark.parametrize("statement", ["update deliveries set body = ''", "delete from deliveries"])
def test_a_delivery_is_never_changed(engine: Engine, statement: str) -> None:
    receive(engine)
    with pytest.raises(DBAPIError, match="exactly as it was received"):
        change(engine, statement)


@pytest.mark.parametrize("table", ["cases", "effects"])
def test_cases_and_effects_are_never_deleted(engine: Engine, table: str) -> None:
    with pytest.raises(DBAPIError, match="is refused"):
        change(engine, f"delete from {table}")


def test_a_change_without_an_author_is_refused(engine: Engine) -> None:
    receive(engine)
    with pytest.raises(DBAPIError, match="without an author"), engine.begin() as connection:
        connection.execute(text("update cases set stage = 'normalise'"))
    assert rows(engine, "select stage from cases") == [{"stage": "capture"}]


def test_each_change_of_a_case_leaves_an_event_with_its_author(engine: Engine) -> None:
    (case,) = receive(engine)
    change(engine, "update cases set stage = 'normalise'", actor="user:anna")
    change(engine, "update cases set owner = 'sales'", actor="user:ben")
    change(
        engine,
        """update cases set state = 'quarantined', reasons = '[{"code": "phone.invalid", "field": "phone",
           "message": "0911 is not a number"}]'""",
    )
    found = rows(engine, "select kind, actor, detail from events where case_id = :case order by id", case=case)
    assert [(event["kind"], event["actor"]) for event in found] == [
        ("received", "system:intake"),
        ("advanced", "user:anna"),
        ("changed", "user:ben"),
        ("quarantined", "system:test"),
    ]
    assert found[3]["detail"] == {"reasons": [{"code": "phone.invalid", "field": "phone"}]}, (
        "no message: it is personal"
    )


@pytest.mark.parametrize(
    "assignment",
    [
        "state = 'running'",
        "state = 'finished'",
        "state = 'finished', outcome = 'done'",
        "outcome = 'done', closed_at = now()",
        "state = 'quarantined'",
        "state = 'quarantined', reasons = '[]'",
        "state = 'quarantined', reasons = '{}'",
        "state = 'gone'",
        "owner = ''",
        "delivery_id = null",
        "attempts = -1",
    ],
)
def test_a_state_that_makes_no_sense_is_refused(engine: Engine, assignment: str) -> None:
    receive(engine)
    with pytest.raises(IntegrityError):
        change(engine, f"update cases set {assignment}")


def test_a_delivery_without_a_case_unbalances_the_books(engine: Engine) -> None:
    receive(engine, 3)
    change(
        engine,
        """insert into deliveries (source, workflow, key, digest, body)
           values ('website', 'lead_to_client', 'lost', sha256('x'), 'x')""",
    )
    (books,) = rows(engine, "select received, in_progress, difference from balance")
    assert books == {"received": 4, "in_progress": 3, "difference": 1}


def test_what_the_driver_itself_raises_comes_as_any_other_error(engine: Engine) -> None:
    with (
        pytest.raises(IntegrityError, match="null value"),
        engine.begin() as connection,
        driver(connection) as direct,
    ):
        direct.execute("insert into events (workflow) values (null)")
