"""Runs the revisions on the connection that `include.data.database.migrate` hands over; it has no other entry."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="schema_version", version_table_schema="waybill")
with context.begin_transaction():
    context.run_migrations()
