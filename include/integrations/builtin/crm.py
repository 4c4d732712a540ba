"""The built-in provider of the `crm` role: companies, contacts, deals and tasks in PostgreSQL.

Keyed by Waybill's own keys, so sending an effect again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.types.json import Jsonb
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import IntegrityError, OperationalError

from include.integrations.systems import Failed, Json, Operation, Outcome, PendingEffect, Sent, Settle


@dataclass(frozen=True)
class _Table:
    name: str
    links: tuple[str, ...]


TABLES = {
    "upsert_company": _Table("crm_companies", ()),
    "upsert_contact": _Table("crm_contacts", ("company_key",)),
    "upsert_deal": _Table("crm_deals", ("contact_key", "company_key")),
    "create_task": _Table("crm_tasks", ("contact_key", "deal_key")),
}
KINDS = {"company": "crm_companies", "contact": "crm_contacts", "deal": "crm_deals"}
STAGES = ("lead", "mql", "sql", "opportunity", "customer")
"""The lifecycle stages, in their order: of two contacts that are merged, the further one stays."""


class BuiltinCrm:
    """CRM tables in Waybill's database."""

    name = "builtin"
    batch_size = 2_000
    operations: Mapping[str, Operation] = {
        **{name: Operation(name, Settle.RESEND) for name in (*TABLES, "erase_contact")},
        "merge_contacts": Operation("merge_contacts", Settle.LOOKUP),
    }

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Write all effects in one statement; where one of them breaks it, each by itself."""
        try:
            with self._engine.begin() as connection:
                if operation == "merge_contacts":
                    return [_merge(connection, effect.payload["key"], effect.payload["merged"]) for effect in effects]
                if operation == "erase_contact":
                    _erase(connection, effects)
                else:
                    _upsert(connection, TABLES[operation], effects)
        except OperationalError as error:
            return [Failed(f"the database is away: {error.orig}")] * len(effects)
        except IntegrityError as error:
            if len(effects) == 1:
                return [Failed(str(error.orig), permanent=True)]
            return [self.apply(operation, [effect])[0] for effect in effects]
        return [Sent({"id": effect.payload["key"]}) for effect in effects]

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:  # noqa: ARG002
        """Say whether contacts are merged already: then the other one is gone. All else may be sent again."""
        there = self.read("contact", [effect.payload["merged"] for effect in effects])
        return [
            Failed("the two are there still; they are merged again", retry_after=0)
            if effect.payload["merged"] in there
            else Sent({"id": effect.payload["key"], "merged": True})
            for effect in effects
        ]

    def read(self, kind: str, keys: Sequence[str]) -> Mapping[str, Json]:
        """Return the properties of those of `keys` that exist."""
        with self._engine.connect() as connection:
            rows = connection.execute(
                text(f"select key, properties from {KINDS[kind]} where key = any(:keys)"), {"keys": list(keys)}
            )
            return {row.key: row.properties for row in rows}


def _upsert(connection: Connection, table: _Table, effects: Sequence[PendingEffect]) -> None:
    """Fold the effects by key, in their order, and upsert what remains."""
    folded: dict[str, Json] = {}
    for effect in effects:
        record = folded.setdefault(effect.payload["key"], {"properties": {}})
        record["properties"] |= effect.payload["properties"]
        record |= {link: effect.payload[link] for link in table.links if effect.payload.get(link)}
    columns = ", ".join(("key", *table.links, "properties"))
    types = ", ".join((*(f"{name} text" for name in ("key", *table.links)), "properties jsonb"))
    updates = ", ".join(f"{link} = coalesce(excluded.{link}, {table.name}.{link})" for link in table.links)
    connection.execute(
        text(f"""
            insert into {table.name} ({columns})
            select {columns} from jsonb_to_recordset(:records) as v({types}) order by key
            on conflict (key) do update set
                {updates + "," if updates else ""}
                properties = {table.name}.properties || excluded.properties, updated_at = now()"""),
        {"records": Jsonb([{"key": key, **record} for key, record in folded.items()])},
    )


def _erase(connection: Connection, effects: Sequence[PendingEffect]) -> None:
    """Empty contacts and what was to be done about them; a contact that is not there is erased already."""
    keys = {"keys": [effect.payload["key"] for effect in effects]}
    for table, column in (("crm_tasks", "contact_key"), ("crm_contacts", "key")):
        connection.execute(
            text(f"""
                update {table} set properties = '{{}}', updated_at = now()
                where {column} = any(:keys) and properties <> '{{}}'"""),
            keys,
        )


def _merge(connection: Connection, key: str, merged: str) -> Outcome:
    """Let one contact stand for another: it gets what only the other has, with its deals and tasks, and that one goes.

    Where only the other is known, it goes on under the key of the first.
    """
    values = {"key": key, "merged": merged, "stages": list(STAGES)}
    known = connection.execute(
        text("select key from crm_contacts where key in (:key, :merged) order by key for update"), values
    ).scalars()
    if merged not in set(known):
        return Sent({"id": key, "merged": False})
    connection.execute(
        text("""
            insert into crm_contacts (key, company_key, properties)
            select :key, company_key, properties from crm_contacts where key = :merged
            on conflict (key) do update set
                company_key = coalesce(crm_contacts.company_key, excluded.company_key),
                properties = excluded.properties || jsonb_strip_nulls(crm_contacts.properties)
                    || case when array_position(cast(:stages as text[]), excluded.stage)
                                 > array_position(cast(:stages as text[]), crm_contacts.stage)
                            then jsonb_build_object('lifecycle_stage', excluded.stage) else '{}' end,
                updated_at = now()"""),
        values,
    )
    for table in ("crm_deals", "crm_tasks"):
        connection.execute(
            text(f"update {table} set contact_key = :key, updated_at = now() where contact_key = :merged"), values
        )
    connection.execute(text("delete from crm_contacts where key = :merged"), values)
    return Sent({"id": key, "merged": True})
