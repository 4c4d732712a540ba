"""A release of the DAG files that a test may change: a copy of the folder, and a fault that shows when it is wanted."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from include.runtime.environment import REPOSITORY
from tests.support.folders import temporary_folder

FAULTY_STEP = """

# A release with a fault in one step, which shows while a file is there.
from pathlib import Path

FAULT = Path({fault!r})


def segment_with_a_fault(work):
    if FAULT.exists():
        raise ConnectionError("jane.doe@example.com is nobody's business")
    return segment(work)


lead_to_client.get_task("segment").step = segment_with_a_fault
lead_to_client.get_task("segment").retries = 0
"""


@dataclass(frozen=True)
class Release:
    """A copy of the folder of DAGs.

    :param fault: while this file is there, the step `segment` of `lead_to_client` raises.
    """

    dags: Path
    fault: Path


@contextmanager
def release() -> Iterator[Release]:
    """Make a folder with the DAGs, one of which has a fault."""
    folder = temporary_folder("waybill-release-")
    made = Release(folder / "dags", folder / "fault")
    shutil.copytree(REPOSITORY / "dags", made.dags, ignore=shutil.ignore_patterns("__pycache__"))
    with (made.dags / "lead_to_client" / "lead_to_client.py").open("a") as file:
        file.write(FAULTY_STEP.format(fault=str(made.fault)))
    try:
        yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)
