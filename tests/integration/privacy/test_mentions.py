"""A person is found wherever others name them, however it is spelled and whatever moves; nobody is held up."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine, event, text

from include.cases import store
from include.data.database import authored
from include.integrations.builtin.crm import BuiltinCrm
from include.integrations.systems import Mode
from include.privacy import mentions
from include.privacy.erase import Erased, Refused, erase
from include.privacy.export import export
from include.privacy.person import by_email
from tests.support.people import places_of
from tests.support.work import change, receive, rows

ACTOR = "user:olga"
ADDRESS = "ada.lovelace+news@engines.example"


def forget(engine: Engine, address: str = ADDRESS) -> Erased:
    with engine.begin() as connection:
        return erase(connection, by_email(connection, address), actor=ACTOR, reason="letter 17", mode=Mode.LIVE)


@contextmanager
def meanwhile(engine: Engine, table: str, action: Callable[[], None]) -> Iterator[None]:
    """Do something once, when the first pages of a table were looked through."""
    done: list[bool] = []

    def after(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not done and f'"{table}" where ctid' in statement:
            done.append(True)
            action()

    event.listen(engine, "after_cursor_execute", after)
    try:
        yield
    finally:
        event.remove(engine, "after_cursor_execute", after)
    assert done


def test_a_row_that_moves_behind_the_readers_back_is_found_and_nobody_is_held_up(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It moves from the second page to the first, which was read before."""
    monkeypatch.setattr(mentions, "STRETCH", 1)
    change(  # five rows fill a page
        engine,
        """insert into chat_log (key, channel, text)
           select n, '#ops', repeat('x', 1500) || case n when 7 then :address else '' end
           from generate_series(0, 14) n""",
        address=f" {ADDRESS}",
    )
    change(engine, "delete from chat_log where key::int < 5")
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("vacuum chat_log"))
    where = "select (ctid::text::point)[0]::int as page from chat_log where key = '7'"
    pages: list[int] = []

    def move() -> None:
        pages.append(rows(engine, where)[0]["page"])
        with authored(engine, actor="system:test") as other:
            free = "select pg_try_advisory_xact_lock(hashtextextended('waybill.directory', 0))"
            assert other.execute(text(free)).scalar_one(), "leads go on meanwhile"
            other.execute(text("update chat_log set channel = '#ops-all' where key = '7'"))
        pages.append(rows(engine, where)[0]["page"])

    with caplog.at_level(logging.INFO, logger=mentions.__name__), meanwhile(engine, "chat_log", move):
        done = forget(engine)
    assert pages[0] > pages[1] == 0
    assert {count.table: count.rows for count in done.counts} == {"chat_log": 1}
    assert places_of(engine, [ADDRESS]) == []
    told = [int(found[1]) for line in caplog.messages if (found := re.match(r"(\d+) % looked through", line))]
    assert told == sorted(told)
    assert told[-1] == 100
    assert "lovelace" not in caplog.text.lower()


def test_an_address_that_comes_in_meanwhile_is_looked_for_by_another_try(engine: Engine) -> None:
    other = "countess@engines.example"
    known = "insert into contact_keys (kind, value, contact_id) select 'email', :value, id from directory_contacts"
    change(engine, "insert into directory_contacts (id) values (uuidv7())")
    change(engine, known, value=ADDRESS.replace("+news", ""))  # addresses are compared without it
    change(engine, "insert into chat_log (key, channel, text) values ('1', '#ops', :said)", said=f"{other} called")
    with (
        meanwhile(engine, "chat_log", lambda: change(engine, known, value=other)),
        pytest.raises(Refused, match="another address"),
    ):
        forget(engine)
    assert rows(engine, "select from erasures") == []
    forget(engine)
    assert rows(engine, "select text from chat_log") == [{"text": "[erased] called"}]


def test_bodies_of_others_lose_the_address_however_their_sender_spells_it(engine: Engine) -> None:
    bodies = [
        json.dumps({"from": f"Ada <{ADDRESS}>"}),
        r'{"from": "Ada \u003cada.lovelace\u002Bnews@engines.example\u003e"}',
        "from=Ada%3CADA.Lovelace%2Bnews%40engines.example%3E",
    ]
    for n, body in enumerate(bodies):
        change(
            engine,
            """insert into deliveries (source, workflow, key, digest, body)
               values ('website', 'lead_to_client', :key, sha256(cast(:body as bytea)), cast(:body as bytea))""",
            key=f"id:{n}",
            body=body.encode(),
        )
    forget(engine)
    assert [row["body"] for row in rows(engine, "select body_text(body) as body from deliveries order by key")] == [
        '{"from": "Ada <[erased]>"}',
        r'{"from": "Ada \u003c[erased]\u003e"}',
        "from=Ada%3C[erased]%3E",
    ]


def test_reasons_that_people_wrote_about_other_cases_are_looked_through(engine: Engine) -> None:
    [other] = receive(engine, [{"email": "ben@engines.example"}])
    reasons = json.dumps([{"code": "email.invalid", "message": f"not {ADDRESS}", "field": "email"}])
    change(engine, "update cases set state = 'quarantined', reasons = cast(:r as jsonb) where id = :id",
           r=reasons, id=other)  # fmt: skip
    with pytest.raises(Refused, match=f"open cases {other}"):
        forget(engine)
    store.discard(engine, [other], reason=f"it is {ADDRESS}, said Ben", actor=ACTOR)
    with engine.connect() as connection:
        held = export(connection, by_email(connection, ADDRESS), BuiltinCrm(engine))["held"]
    assert held["cases"]["rows"] == [{"mentioned_in": str(other), "found": ["reasons", "outcome"]}]
    assert [row["found"] for row in held["events"]["rows"]] == [["detail"]]
    forget(engine)
    assert rows(engine, "select outcome from cases") == [{"outcome": "it is [erased], said Ben"}]
    assert places_of(engine, [ADDRESS]) == []


def test_in_an_export_rows_about_others_are_named_without_their_addresses(engine: Engine) -> None:
    change(
        engine,
        """insert into mailbox (key, "to", subject, message)
           values ('lead_to_client/7/send_mail/ben@engines.example', 'ben@engines.example', 'Hello', :message)""",
        message=json.dumps({"text": f"Ask {ADDRESS}"}),
    )
    with engine.connect() as connection:
        [named] = export(connection, by_email(connection, ADDRESS), BuiltinCrm(engine))["held"]["mailbox"]["rows"]
    assert named == {"mentioned_in": "lead_to_client/7/send_mail/[...]", "found": ["message"]}
