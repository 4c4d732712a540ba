"""Airflow imports this when it starts: it loads heavy libraries once, in the process that tasks fork from.

It changes no setting and sets no policy; without WAYBILL_PRELOAD it does nothing.
"""

import importlib
import logging
import os

__all__: list[str] = []

# What tasks import on their way to their first line, and what takes longest among the libraries of the steps.
# Waybill's own modules are not here, so that an edited rule counts from the next task on.
MODULES = (
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.dag_processing.bundles.local",
    "airflow.providers.standard.operators.python",
    "airflow.providers.standard.operators.hitl",
    "airflow.providers.http.hooks.http",
    "airflow.providers.slack.hooks.slack",
    "airflow.providers.smtp.hooks.smtp",
    "pandas",
    "great_expectations",
    "sqlalchemy.dialects.postgresql.psycopg",
    "psycopg",
    "pydantic",
    "yaml",
    "httpx",
    "jinja2",
    "orjson",
    "phonenumbers",
    "email_validator",
    "pycountry",
    "nameparser",
    "holidays",
    "splink",
    "duckdb",
)


def _preload() -> None:
    for name in MODULES:
        try:
            importlib.import_module(name)
        except Exception:
            # A task that needs it will fail with the same error, where a person sees it.
            logging.getLogger(__name__).warning("could not load %s ahead", name, exc_info=True)


if os.environ.get("WAYBILL_PRELOAD"):
    _preload()
