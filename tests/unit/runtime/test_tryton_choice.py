"""A home with a real ERP: chosen once, connected by the environment, and no password where others may read it."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path

import pytest

from include.runtime import local, tryton
from include.runtime.environment import Home, keys
from include.runtime.supervision import configuration


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "home", 8123)
    found.create()
    return found


def test_the_choice_of_an_erp_is_kept_until_another_is_made(home: Home) -> None:
    assert not tryton.chosen(home)
    tryton.choose(home, None)
    assert not tryton.chosen(home)
    tryton.choose(home, "tryton")
    tryton.choose(home, None)
    assert tryton.chosen(home)
    tryton.choose(home, "builtin")
    assert not tryton.chosen(home)


def test_the_processes_are_connected_to_tryton_only_where_it_is_chosen(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(tryton.CONNECTION, raising=False)
    assert tryton.CONNECTION not in local.settings(home)
    tryton.choose(home, "tryton")
    connection = json.loads(local.settings(home)[tryton.CONNECTION])
    assert (connection["conn_type"], connection["host"], connection["port"]) == ("tryton", "127.0.0.1", 8124)
    assert connection["password"] == keys(home)["WAYBILL_TRYTON_PASSWORD"]
    monkeypatch.setenv(tryton.CONNECTION, "mine")
    assert local.settings(home)[tryton.CONNECTION] == "mine"


def test_tryton_s_own_passwords_are_in_no_file_but_the_keys(home: Home) -> None:
    tryton.choose(home, "tryton")
    found = tryton.of_home(home)
    found.configure()
    secrets = [keys(home)[f"WAYBILL_TRYTON_{name}"] for name in ("PASSWORD", "ADMIN_PASSWORD")]
    text = configuration(home, [tryton.program(home)]) + found.configuration.read_text() + repr(found)
    assert not [secret for secret in secrets if secret in text]
    assert keys(home)["WAYBILL_TRYTON_ADMIN_PASSWORD"] not in local.settings(home).values()
    assert stat.S_IMODE(found.configuration.stat().st_mode) == 0o600
    assert f"listen = 127.0.0.1:{found.port}" in found.configuration.read_text()


def test_tryton_s_packages_are_pinned_and_hashed() -> None:
    text = tryton.REQUIREMENTS.read_text()
    entries = re.findall(r"^\S+==.*(?:\n    .*)*", text, re.MULTILINE)
    assert all("--hash=sha256:" in entry for entry in entries)
    wanted = re.findall(
        r"^([\w-]+)(?:\[.*\])?==(\S+)", tryton.REQUIREMENTS.with_suffix(".in").read_text(), re.MULTILINE
    )
    assert len(wanted) >= 10
    for name, version in wanted:
        assert re.search(rf"^{name}(\[.*\])?=={re.escape(version)} ", text, re.MULTILINE), name
