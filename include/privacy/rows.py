"""The SQL that the inventory comes to: counts, reads and erases a person's values, a table in one statement.

It decides nothing, and writes nothing about what it does: that is erase.py's part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from include.privacy.inventory import Column, Table, inventory
from include.privacy.mentions import Mentions, Rows, names, naming
from include.privacy.person import Person

MARKER = "[erased]"
BODY = '{"erased": true}'
UNIQUE_MARKER = "'[erased ' || left(gen_random_uuid()::text, 8) || ']'"
KEY = ":pattern || '|' || :any_address"
"""A key is no free text: whatever reads as an e-mail address in it is one, also one that nobody knows any more."""
CASES_OWN = ("id = any(:cases)", "case_id = any(:cases)")
"""How the inventory says that rows are a case's own."""
JSON_MARKS = {("corrections", "value")}
"""JSON columns that must hold something: the marker is a JSON text there."""


@dataclass(frozen=True)
class Count:
    """How much one table holds of a person.

    :param rows: that are about them, or name them.
    :param values: that an erasure would take away.
    """

    table: str
    rows: int
    values: int


def counts(connection: Connection, person: Person, mentions: Mentions) -> list[Count]:
    """Count what each table holds of a person, in the inventory's order; tables without anything are left out.

    :param mentions: which rows to look at for mentions, of those about something else.
    """
    found = []
    for name, table in inventory().holds.items():
        rows = values = 0
        if table.rows:
            each = [f"count(*) filter (where {_to_erase(name, column, entry)})" for column, entry in _erased(table)]
            total = "count(*)" if table.delete else " + ".join(each) or "0"
            one = connection.execute(
                text(f'select count(*), {total} from "{name}" where {table.rows}'), person.values
            ).one()
            rows, values = one[0], one[1]
        if name in mentions:
            each = [f"count(*) filter (where {names(column)})" for column in table.elsewhere]
            one = connection.execute(
                text(f'select count(*), {" + ".join(each)} from "{name}" where {_elsewhere(table, mentions[name])}'),
                _with(person, mentions[name]),
            ).one()
            rows, values = rows + one[0], values + one[1]
        if rows:
            found.append(Count(name, rows, values))
    return found


def read(connection: Connection, person: Person, mentions: Mentions) -> dict[str, list[dict[str, Any]]]:
    """Return what each table holds of a person: rows about them whole, and in which others they are named."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, table in inventory().holds.items():
        rows: list[dict[str, Any]] = []
        if table.rows:
            whole = (
                "to_jsonb(t) - 'body' || jsonb_build_object('body', body_text(body))" if name == "deliveries" else ""
            )
            rows += connection.execute(
                text(f'select {whole or "to_jsonb(t)"} from "{name}" t where {table.rows}'), person.values
            ).scalars()
        if name in mentions:
            where = ", ".join(f"case when {names(column)} then '{column}' end" for column in table.elsewhere)
            named = f"regexp_replace({table.named_by}, :any_address, '[...]', 'gi')"
            rows += connection.execute(
                text(f"""
                    select jsonb_build_object('mentioned_in', {named},
                                              'found', array_remove(array[{where}], null))
                    from "{name}" where {_elsewhere(table, mentions[name])}"""),
                _with(person, mentions[name]),
            ).scalars()
        if rows:
            found[name] = rows
    return found


def open_mentions(connection: Connection, person: Person, mentions: Mentions) -> list[int]:
    """Return the open cases that name a person and are about something else; nobody can take the address from them."""
    found: set[int] = set()
    for name, case in (
        ("deliveries", "(select cases.id from cases where delivery_id = deliveries.id)"),
        ("purchase_requests", "case_id"),
        ("purchase_orders", "case_id"),
        ("effects", "case_id"),
        ("cases", "id"),
    ):
        if name not in mentions:
            continue
        columns = ["payload"] if name == "effects" else inventory().holds[name].elsewhere
        rows = connection.execute(
            text(f"""
                select id from cases where id in (
                    select {case} from {name} where "{mentions[name].key}" = any(:named) and {naming(columns)}
                ) and state not in ('finished', 'rejected') and not id = any(:cases)"""),
            _with(person, mentions[name]),
        )
        found.update(rows.scalars())
    return sorted(found)


def erase(connection: Connection, person: Person, mentions: Mentions) -> None:
    """Put markers and blanks in the place of a person's values; call it in the transaction of an erasure."""
    for name, table in inventory().holds.items():
        if table.rows and table.delete:
            connection.execute(text(f'delete from "{name}" where {table.rows}'), person.values)
        elif table.rows and (columns := _erased(table)):
            _update(
                connection, person.values, name,
                {column: _replaced(name, column, entry) for column, entry in columns},
                f"({table.rows}) and ({' or '.join(_to_erase(name, column, entry) for column, entry in columns)})",
            )  # fmt: skip
        if name in mentions:
            _update(
                connection, _with(person, mentions[name]), name,
                {column: _without_mentions(column, table.columns[column], ":addresses") for column in table.elsewhere},
                _elsewhere(table, mentions[name]),
            )  # fmt: skip


def erase_words(connection: Connection, patterns: Mapping[int, str]) -> None:
    """Take out of the texts of each case what a pattern of its own matches; in the transaction of an erasure."""
    bound = {"cases": list(patterns), "patterns": list(patterns.values())}
    for name, table in inventory().holds.items():
        if table.rows not in CASES_OWN:
            continue
        key = table.rows.partition(" ")[0]
        for column in (column for column, entry in table.columns.items() if entry.erase == "mentions"):
            connection.execute(
                text(f"""
                    update "{name}" set "{column}" = without_mentions("{column}", pattern)
                    from unnest(cast(:cases as bigint[]), cast(:patterns as text[])) as words (whose, pattern)
                    where {table.rows} and {key} = whose and "{column}"::text ~* pattern"""),
                bound,
            )


def erase_bodies(connection: Connection, person: Person) -> None:
    """Erase only the stored deliveries of the cases."""
    table = inventory().holds["deliveries"]
    _update(connection, person.values, "deliveries", {"body": f"'{BODY}'"}, f"({table.rows}) and erased_at is null")


def _update(connection: Connection, bound: Mapping[str, Any], name: str, values: Mapping[str, str], which: str) -> None:
    assignments = ", ".join(f'"{column}" = {value}' for column, value in values.items())
    if values.get("body") == f"'{BODY}'":
        assignments += ", content_type = 'application/json', erased_at = now()"
    connection.execute(text(f'update "{name}" set {assignments} where {which}'), bound)


def _erased(table: Table) -> list[tuple[str, Column]]:
    return [(name, column) for name, column in table.columns.items() if column.erase != "keep"]


def _replaced(table: str, name: str, column: Column) -> str:
    """The SQL of a column's value after an erasure, in a row about the person."""
    replacement = _replacement(table, name, column)
    return f'case when {column.but_not} then "{name}" else {replacement} end' if column.but_not else replacement


def _replacement(table: str, name: str, column: Column) -> str:
    quoted = f'"{name}"'
    return {
        "blank": "null",
        "mark": f"'\"{MARKER}\"'" if (table, name) in JSON_MARKS else f"'{MARKER}'",
        "empty": "'{}'",
        "mentions": f"without_mentions({quoted}, :pattern)",
        "name": f"""case when company_key is null then {quoted} - 'name'
                    else jsonb_set({quoted}, '{{name}}', without_mentions({quoted}->'name', :pattern)) end""",
        "key": f"regexp_replace({quoted}, {KEY}, {UNIQUE_MARKER}, 'gi')",
        "codes": f"""(select jsonb_agg(jsonb_strip_nulls(jsonb_build_object('code', r->'code', 'field', r->'field')))
                      from jsonb_array_elements({quoted}) as r)""",
        "body": f"'{BODY}'",
    }[column.erase]


def _to_erase(table: str, name: str, column: Column) -> str:
    """The SQL that is true where an erasure would take something out of a column, in a row about the person."""
    quoted = f'"{name}"'
    condition = {
        "blank": f"{quoted} is not null",
        "mentions": f"coalesce({quoted}::text ~* :pattern, false)",
        "name": f"coalesce(company_key is null and {quoted} ? 'name' or {quoted}->>'name' ~* :pattern, false)",
        "key": f"{quoted} ~* ({KEY})",
        "codes": f"exists (select from jsonb_array_elements({quoted}) as r where r ? 'message')",
    }.get(column.erase) or f"{quoted} <> {_replacement(table, name, column)}"
    return f"(not ({column.but_not}) and {condition})" if column.but_not else f"({condition})"


def _with(person: Person, named: Rows) -> dict[str, Any]:
    return {**person.values, "named": named.ids}


def _elsewhere(table: Table, named: Rows) -> str:
    """The SQL for those of the rows :named that are about something else, and name the person."""
    about = f" and not coalesce({table.rows}, false)" if table.rows else ""
    return f'"{named.key}" = any(:named) and {naming(table.elsewhere)}{about}'


def _without_mentions(name: str, column: Column, pattern: str) -> str:
    if name == "body":
        return f"convert_to(without_mentions(body_text(body), {pattern}), 'UTF8')"
    if column.erase == "key":
        return f"regexp_replace(\"{name}\", {pattern}, {UNIQUE_MARKER}, 'gi')"
    return f'without_mentions("{name}", {pattern})'
