"""The SQL that the inventory comes to: counts, reads and erases a person's values, a table in one statement.

It decides nothing, and writes nothing about what it does: that is erase.py's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from include.privacy.inventory import Column, Table, inventory
from include.privacy.person import NOTHING, Person

MARKER = "[erased]"
BODY = '{"erased": true}'
UNIQUE_MARKER = "'[erased ' || left(gen_random_uuid()::text, 8) || ']'"
KEY = ":pattern || '|' || :any_address"
"""A key is no free text: whatever reads as an e-mail address in it is one, also one that nobody knows any more."""
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


def counts(connection: Connection, person: Person, *, elsewhere: bool) -> list[Count]:
    """Count what each table holds of a person, in the inventory's order; tables without anything are left out.

    :param elsewhere: also look for mentions in rows about something else, which reads whole tables.
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
        if elsewhere and table.elsewhere and person.addresses != NOTHING:
            each = [f"count(*) filter (where {_mentions(column)})" for column in table.elsewhere]
            one = connection.execute(
                text(f'select count(*), {" + ".join(each)} from "{name}" where {_elsewhere(table)}'), person.values
            ).one()
            rows, values = rows + one[0], values + one[1]
        if rows:
            found.append(Count(name, rows, values))
    return found


def read(connection: Connection, person: Person) -> dict[str, list[dict[str, Any]]]:
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
        if table.elsewhere and person.addresses != NOTHING:
            where = ", ".join(f"case when {_mentions(column)} then '{column}' end" for column in table.elsewhere)
            rows += connection.execute(
                text(f"""
                    select jsonb_build_object('mentioned_in', {table.named_by},
                                              'found', array_remove(array[{where}], null))
                    from "{name}" where {_elsewhere(table)}"""),
                person.values,
            ).scalars()
        if rows:
            found[name] = rows
    return found


def open_mentions(connection: Connection, person: Person) -> list[int]:
    """Return the open cases that name a person and are about something else; nobody can take the address from them."""
    looked = [
        f"select {case} as case_id from {name} where {' or '.join(map(_mentions, columns))}"
        for name, case, columns in (
            ("deliveries join cases on cases.delivery_id = deliveries.id", "cases.id", ["body"]),
            ("purchase_requests", "case_id", inventory().holds["purchase_requests"].elsewhere),
            ("purchase_orders", "case_id", inventory().holds["purchase_orders"].elsewhere),
            ("effects", "case_id", ["payload"]),
        )
    ]
    found = connection.execute(
        text(f"""
            select distinct id from cases join ({" union all ".join(looked)}) named on named.case_id = cases.id
            where state not in ('finished', 'rejected') and not id = any(:cases) order by id"""),
        person.values,
    )
    return list(found.scalars())


def erase(connection: Connection, person: Person, *, elsewhere: bool) -> None:
    """Put markers and blanks in the place of a person's values; call it in the transaction of an erasure."""
    for name, table in inventory().holds.items():
        if table.rows and table.delete:
            connection.execute(text(f'delete from "{name}" where {table.rows}'), person.values)
        elif table.rows and (columns := _erased(table)):
            _update(
                connection, person, name,
                {column: _replaced(name, column, entry) for column, entry in columns},
                f"({table.rows}) and ({' or '.join(_to_erase(name, column, entry) for column, entry in columns)})",
            )  # fmt: skip
        if elsewhere and table.elsewhere and person.addresses != NOTHING:
            _update(
                connection, person, name,
                {column: _without_mentions(column, table.columns[column], ":addresses") for column in table.elsewhere},
                _elsewhere(table),
            )  # fmt: skip


def erase_bodies(connection: Connection, person: Person) -> None:
    """Erase only the stored deliveries of the cases."""
    table = inventory().holds["deliveries"]
    _update(connection, person, "deliveries", {"body": f"'{BODY}'"}, f"({table.rows}) and erased_at is null")


def _update(connection: Connection, person: Person, name: str, values: dict[str, str], which: str) -> None:
    assignments = ", ".join(f'"{column}" = {value}' for column, value in values.items())
    if values.get("body") == f"'{BODY}'":
        assignments += ", content_type = 'application/json', erased_at = now()"
    connection.execute(text(f'update "{name}" set {assignments} where {which}'), person.values)


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


def _text_of(column: str) -> str:
    return "body_text(body)" if column == "body" else f'"{column}"::text'


def _mentions(column: str) -> str:
    # the expression is slow; most rows do not even hold the words, as bytes compare them
    held = f'lower({_text_of(column)} collate "C") like any(:hints)'
    return f"coalesce({held} and {_text_of(column)} ~* :addresses, false)"


def _elsewhere(table: Table) -> str:
    """The SQL for rows that are about something else, and name the person."""
    named = " or ".join(_mentions(column) for column in table.elsewhere)
    return f"({named}) and not coalesce({table.rows}, false)" if table.rows else f"({named})"


def _without_mentions(name: str, column: Column, pattern: str) -> str:
    if name == "body":
        return f"convert_to(without_mentions(body_text(body), {pattern}), 'UTF8')"
    if column.erase == "key":
        return f"regexp_replace(\"{name}\", {pattern}, {UNIQUE_MARKER}, 'gi')"
    return f'without_mentions("{name}", {pattern})'
