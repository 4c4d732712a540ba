"""Airflow imports this when it starts: the scheduler clears up after one that was killed, and loads heavy libraries

once, for tasks fork from it; the DAG processor loads what DAG files import, for each is read in a fork. It changes no
setting and sets no policy; without WAYBILL_PRELOAD it does nothing.
"""

import gc
import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Iterator

__all__: list[str] = []

# What tasks import on their way to their first line, and what takes longest among the libraries of the steps.
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


# Waybill's own packages: with them loaded, a task starts in half the time; an edited rule counts from the next start.
# WAYBILL_PRELOAD=libraries leaves them out, for whoever is editing rules.
PACKAGES = (
    "include.approvals",
    "include.cases",
    "include.contracts",
    "include.data.matching",
    "include.data.normalise",
    "include.data.validation",
    "include.domain",
    "include.integrations",
    "include.monitoring",
    "include.reporting",
    "include.stock",
    "waybill.operators",
)
SINGLE = (
    "include.data.database",
    "include.data.frames",
    "include.data.pdf",
    "include.intake.imports",
    "waybill.dags",
    "waybill.systems",
)
# Declarations and rules in YAML that nearly every task asks for; reading them takes half a second.
DECLARATIONS = (
    "include.contracts.registry:contracts",
    "include.approvals.people:people",
    "include.intake.sources:sources",
    "include.stock.warehouse:warehouse",
    "include.domain.purchasing:purchasing",
    "include.domain.purchase_approval.facts:matrix",
    "include.domain.stock_request.facts:matrix",
    "include.domain.stock_request.feeds:feeds",
    "include.domain.stock_request.kinds:kinds",
)
# Of these, what DAG files import: each of them is read in a fork of the DAG processor.
OF_DAGS = ("include.domain", "waybill.operators")


def _preload() -> None:
    gc.disable()  # nothing that is loaded here is ever garbage
    try:
        if "dag-processor" in sys.argv:
            for name in (*_modules(OF_DAGS), "airflow.providers.standard.operators.hitl", "waybill.forms"):
                _load(name, warm=False)
            _read(DECLARATIONS)
            return
        for name in MODULES:
            _load(name)
        if os.environ["WAYBILL_PRELOAD"] != "libraries":
            for name in (*_modules(PACKAGES), *SINGLE):
                _load(name)
            _read(DECLARATIONS)
    finally:
        gc.enable()


def _modules(packages: tuple[str, ...]) -> Iterator[str]:
    for name in packages:
        package = importlib.import_module(name)
        yield name
        for found in pkgutil.walk_packages(package.__path__, f"{name}."):
            yield found.name


def _load(name: str, *, warm: bool = True) -> None:
    """Import a module; one whose first use is slow has a `preload()` that pays for it, where it is to be used."""
    try:
        module = importlib.import_module(name)
        if warm:
            getattr(module, "preload", lambda: None)()
    except Exception:
        # A task that needs it will fail with the same error, where a person sees it.
        logging.getLogger(__name__).warning("could not load %s ahead", name, exc_info=True)


def _read(readers: tuple[str, ...]) -> None:
    """Have each reader read its file now; it keeps what it read for the forks."""
    for place in readers:
        module, _, reader = place.partition(":")
        try:
            getattr(importlib.import_module(module), reader)()
        except Exception:
            # The same as above: whoever needs it says what is wrong with the file.
            logging.getLogger(__name__).warning("could not read %s ahead", place, exc_info=True)


def _end_orphans() -> None:
    """Clear up after a scheduler that was killed, before this one takes its place."""
    from include.runtime.environment import Home  # noqa: PLC0415 - for the scheduler alone
    from include.runtime.supervision import end_orphaned_workers  # noqa: PLC0415

    end_orphaned_workers(Home.from_environment())


if os.environ.get("WAYBILL_PRELOAD"):
    if "scheduler" in sys.argv:
        _end_orphans()
    _preload()
