"""Files that Waybill writes for people: where they go, and that each is written whole or not at all.

What is in them is for those who write them.
"""

from __future__ import annotations

import csv
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from io import BufferedWriter, StringIO, TextIOWrapper
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
    written = 0
    with _whole(target) as binary:
        file = TextIOWrapper(binary, encoding="utf-8", newline="")
        writer = csv.writer(file)
        writer.writerow(header)
        for row in rows:
            writer.writerow([_cell(value) for value in row])
            written += 1
        file.detach()  # flushes, and leaves the file open
    return written


def csv_of(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return rows as `write_csv` writes them."""
    file = StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(header)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return file.getvalue()


def write_whole(target: Path, content: bytes) -> None:
    """Write a file; one of the same name is replaced when it is whole."""
    with _whole(target) as file:
        file.write(content)


@contextmanager
def _whole(target: Path) -> Iterator[BufferedWriter]:
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=target.parent, prefix=f".{target.stem}_", suffix=".draft")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(draft).chmod(0o640)
        Path(draft).replace(target)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) and not _NUMBER.fullmatch(value):
        return f"'{value}"
    return value
