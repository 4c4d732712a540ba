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


class BuiltinCrm:
    """CRM tables in Waybill's database."""

    name = "builtin"
    batch_size = 2_000
    operations: Mapping[str, Operation] = {name: Operation(name, Settle.RESEND) for name in (*TABLES, "erase_contact")}

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def apply(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Write all effects in one statement; where one of them breaks it, each by itself."""
        try:
            with self._engine.begin() as connection:
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

    def settle(self, operation: str, effects: Sequence[PendingEffect]) -> Sequence[Outcome]:
        """Never asked: everything here may be sent again."""
        return self.apply(operation, effects)

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
