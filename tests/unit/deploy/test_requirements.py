"""requirements.txt, requirements-dev.txt and requirements.lock say the same."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from include.runtime.environment import REPOSITORY


def lines(name: str) -> list[str]:
    text = (REPOSITORY / name).read_text()
    return [line for line in text.splitlines() if line and not line.startswith(("#", "-r"))]


def locked() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", "\n".join(lines("requirements.lock")), re.M):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_what_is_asked_for_is_what_is_locked(name: str) -> None:
    lock = locked()
    for line in lines(name):
        wanted = Requirement(line.partition("#")[0].strip())
        (pin,) = wanted.specifier
        versions = lock.get(canonicalize_name(wanted.name), set())
        assert pin.version in versions, f"{wanted} is not in requirements.lock ({versions}): run `make lock`"


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_pin_is_exact_and_has_a_reason(name: str) -> None:
    for line in lines(name):
        assert re.match(r"^[A-Za-z0-9._\[\]-]+==\S+\s+# \S", line), f"{line!r}: pin it with == and say why"


def test_the_lock_is_universal_and_hashed() -> None:
    text = (REPOSITORY / "requirements.lock").read_text()
    assert "--universal" in text.partition("\n\n")[0][:400]
    assert "--python-version 3.11" in text[:400]
    entries = re.findall(r"^\S+==.*(?:\n    .*)*", text, re.M)
    assert all("--hash=sha256:" in entry for entry in entries)
