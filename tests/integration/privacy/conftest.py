"""Folders of a test's own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Exports and Data Docs go here."""
    monkeypatch.setenv("WAYBILL_EXPORT_FOLDER", str(tmp_path / "exports"))
    monkeypatch.setenv("WAYBILL_DATA_DOCS", str(tmp_path / "docs"))
    return tmp_path
