"""Every column that can hold personal data stands in the inventory, or with a reason outside of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from sqlalchemy import Engine

from include.data.database import authored
from include.privacy import rows as privacy
from include.privacy.erase import begin
from include.privacy.inventory import inventory
from include.privacy.mentions import Rows, search, tables
from include.privacy.person import everybody_of
from tests.support.work import rows

HOLD_WORDS = """
    select c.table_name, c.column_name from information_schema.columns c
    join information_schema.tables t using (table_schema, table_name)
    where c.table_schema = 'waybill' and t.table_type = 'BASE TABLE' and c.is_generated = 'NEVER'
      and (c.data_type in ('text', 'json', 'jsonb', 'bytea', 'ARRAY', 'character varying', 'xml', 'inet')
           or (c.data_type = 'character' and c.character_maximum_length > 3))"""
"""Columns that can hold a name; codes of up to three letters, numbers, moments and ids cannot."""


def test_every_column_that_holds_words_is_declared_once(engine: Engine) -> None:
    there = {(row["table_name"], row["column_name"]) for row in rows(engine, HOLD_WORDS)}
    declared = Counter(
        [(table, column) for table, entry in inventory().holds.items() for column in entry.columns]
        + [(table, column) for part in inventory().without for table, names in part.columns.items() for column in names]
    )
    missing = sorted(there - set(declared))
    assert not missing, (
        "say in include/privacy/inventory.yaml whether these hold personal data, and what an erasure makes of them, "
        f"or why they hold none: {missing}"
    )
    assert [place for place, times in declared.items() if times > 1] == []


def test_what_the_inventory_declares_is_there(engine: Engine) -> None:
    every = "select table_name, column_name from information_schema.columns where table_schema = 'waybill'"
    there = {(row["table_name"], row["column_name"]) for row in rows(engine, every)}
    declared = {(table, column) for table, entry in inventory().holds.items() for column in entry.columns}
    declared |= {(t, column) for part in inventory().without for t, names in part.columns.items() for column in names}
    assert declared - there == set()


def test_all_of_its_sql_can_be_run(engine: Engine) -> None:
    with authored(engine, actor="user:olga") as connection:
        nobody = everybody_of(connection, [], [])
        assert privacy.counts(connection, nobody, {}) == []
        assert privacy.read(connection, nobody, {}) == {}
        assert privacy.open_mentions(connection, nobody, {}) == []
        begin(connection, nobody, kind="request", reason="to try it", counts=[])
        somebody = replace(nobody, addresses="of@nobody", emails=("of@nobody",))
        assert search(connection, somebody) == {}
        every = {table.name: Rows(table.key, []) for table in tables(connection)}
        assert list(every) == [name for name, table in inventory().holds.items() if table.elsewhere]
        privacy.erase(connection, somebody, every)
