"""Loads the DAGs once, on an Airflow of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def dags(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every DAG by its id; a file that cannot be imported fails here, with its error."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(ROOT / "dags", load_op_links=False)
    assert not bag.import_errors, bag.import_errors
    return dict(bag.dags)
