"""Files that Waybill writes for people: where they go, and that each is written whole or not at all.

What is in them is for those who write them.
"""

from __future__ import annotations

import csv
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

_NUMBER = re.compile(r"-?\d+(\.\d+)?")


def export_folder() -> Path:
    """Return where the files go: `WAYBILL_EXPORT_FOLDER`, or `exports` in Waybill's home."""
    named = os.environ.get("WAYBILL_EXPORT_FOLDER")
    return Path(named) if named else Path(os.environ.get("WAYBILL_HOME") or ".waybill") / "exports"


def write_csv(target: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Write a CSV file and return how many rows it has; a file of the same name is replaced when it is whole.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}_", suffix=".draft")
    written = 0
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(header)
            for row in rows:
                writer.writerow([_cell(value) for value in row])
                written += 1
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(0o640)
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return written


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value
