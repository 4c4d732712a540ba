"""Alembic's home: one revision per change of the schema, in hand-written SQL."""
