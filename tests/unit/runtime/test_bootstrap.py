"""The installer of .venv, with an index of its own that holds one small package, and no network."""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
import sys
from pathlib import Path

import pytest

from include.runtime import bootstrap
from include.runtime.environment import REPOSITORY


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout whose uv is the present one and whose lock is empty."""
    (tmp_path / "requirements.lock").write_text("")
    monkeypatch.setattr(bootstrap, "NEEDED_DISK", 0)
    monkeypatch.setattr(bootstrap, "_has_uv", _put_uv)
    return tmp_path


def _put_uv(folder: Path) -> bool:
    uv = Path(sys.executable).parent / "uv"
    if not (folder / "bin" / "uv").exists():
        shutil.copy(uv, folder / "bin" / "uv")
    return True


def test_a_second_call_is_done_at_once(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap.install(repository)
    assert (repository / ".venv" / "bin" / "python").exists()
    monkeypatch.setattr(bootstrap, "run", lambda *_: pytest.fail("it installed again"))
    bootstrap.install(repository)


def test_another_lock_is_installed_anew(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bootstrap.install(repository)
    (repository / "requirements.lock").write_text("# changed\n")
    calls: list[list[str]] = []
    monkeypatch.setattr(bootstrap, "run", lambda command, _: calls.append(command))
    bootstrap.install(repository)
    assert [command[1:3] for command in calls] == [["pip", "sync"]]


@pytest.mark.parametrize("damage", ["no interpreter", "broken interpreter", "killed while installing"])
def test_a_half_made_environment_heals(repository: Path, damage: str) -> None:
    bootstrap.install(repository)
    folder = repository / ".venv"
    (folder / "installed").unlink()
    python = folder / "bin" / "python"
    if damage == "no interpreter":
        shutil.rmtree(folder / "bin")
    elif damage == "broken interpreter":
        python.unlink()
        python.write_text("#!/bin/sh\nexit 1\n")
        python.chmod(python.parent.stat().st_mode | stat.S_IXUSR)
    bootstrap.install(repository)
    assert bootstrap._works(python)
    assert (folder / "installed").exists()


@pytest.mark.parametrize("version", [(3, 9), (3, 10), (3, 14)])
def test_a_python_that_the_lock_does_not_cover_is_refused_with_the_way_out(version: tuple[int, int]) -> None:
    with pytest.raises(bootstrap.BootstrapProblem, match=r"3\.11 to 3\.13.*make PYTHON="):
        bootstrap.check_python(version)


def test_a_full_disk_is_told_before_the_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "NEEDED_DISK", 2**62)
    with pytest.raises(bootstrap.BootstrapProblem, match="make room"):
        bootstrap.check_disk(tmp_path)


def test_uv_is_installed_by_the_hashes_of_the_lock() -> None:
    entry = bootstrap.uv_requirement(REPOSITORY / "requirements.lock")
    assert re.match(r"uv==[\d.]+ \\\n    --hash=sha256:[0-9a-f]{64}", entry)


def test_the_stamp_changes_with_the_lock(tmp_path: Path) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("a")
    assert bootstrap.digest(lock).startswith(hashlib.sha256(b"a").hexdigest())


def test_it_can_be_read_by_an_old_python() -> None:
    import ast

    ast.parse(Path(bootstrap.__file__).read_text(), feature_version=(3, 6))
