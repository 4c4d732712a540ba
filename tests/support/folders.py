"""Where tests keep databases: in memory, where the machine has room there, for a new one is hundreds of small files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
NEEDED = 2 * 2**30  # bytes that a run of all tests stays below


def temporary_folder(prefix: str) -> Path:
    """Make an empty folder; whoever asked for it deletes it."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > NEEDED
    return Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if roomy else None))
