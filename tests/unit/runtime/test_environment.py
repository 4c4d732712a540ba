"""The environment of the local processes: keys that are made once, settings that the outside may override."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from sqlalchemy import make_url

from include.runtime import local
from include.runtime.environment import Home, RuntimeProblem, environment, keys, socket_url

URL = "postgresql://postgres@/airflow?host=/tmp/x"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    found = Home(tmp_path / "home", 8123)
    found.create()
    return found


def made(home: Home) -> dict[str, str]:
    return environment(home, waybill_url="postgresql://postgres@/waybill?host=/tmp/x", airflow_url=URL)


def test_keys_are_made_once_and_only_their_owner_may_read_them(home: Home) -> None:
    first = keys(home)
    assert keys(home) == first
    assert stat.S_IMODE((home.path / "keys.json").stat().st_mode) == 0o600
    assert len(set(first.values())) == len(first)


def test_a_source_that_is_added_later_gets_a_secret_and_the_others_keep_theirs(home: Home) -> None:
    kept = keys(home)
    before = {name: value for name, value in kept.items() if name != "WAYBILL_SECRET_WEBSITE"}
    (home.path / "keys.json").write_text(json.dumps(before))
    after = keys(home)
    assert after["WAYBILL_SECRET_WEBSITE"].startswith("whsec_")
    assert {name: after[name] for name in before} == before


def test_unreadable_keys_are_not_replaced_in_silence(home: Home) -> None:
    (home.path / "keys.json").write_text("{")
    with pytest.raises(RuntimeProblem, match="cannot be read"):
        keys(home)


def test_the_database_of_the_outside_is_respected(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_DATABASE_URL", "postgresql://db.example/waybill")
    assert made(home)["WAYBILL_DATABASE_URL"] == "postgresql://db.example/waybill"


def test_the_environment_is_development_unless_said_otherwise(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAYBILL_ENVIRONMENT", raising=False)
    assert made(home)["WAYBILL_ENVIRONMENT"] == "development"
    monkeypatch.setenv("WAYBILL_ENVIRONMENT", "staging")
    assert made(home)["WAYBILL_ENVIRONMENT"] == "staging"


def test_the_passwords_are_in_the_file_of_airflow_and_not_in_the_environment_of_the_tasks(home: Home) -> None:
    values = made(home)
    passwords = Path(values["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
    accounts = json.loads(passwords.read_text())
    assert {"admin", "viewer", "maria.keller"} <= accounts.keys()
    assert accounts["admin"] != accounts["maria.keller"]
    assert not set(accounts.values()) & set(values.values())
    assert [name for name, secret in accounts.items() if any(secret in value for value in values.values())] == [
        "watcher"
    ], "only as the one who looks at Airflow, and deletes runs that name who was erased"
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600


def test_airflow_gets_one_address_for_each_of_its_drivers(home: Home) -> None:
    values = made(home)
    sync = make_url(values["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"])
    asynchronous = make_url(values["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"])
    assert sync.drivername == "postgresql+psycopg2"
    assert asynchronous.drivername == "postgresql+asyncpg"
    assert sync.database == asynchronous.database == "airflow"


def test_every_setting_of_airflow_exists_in_this_version_of_airflow(home: Home) -> None:
    from airflow.configuration import conf

    for name in made(home):
        if name.startswith("AIRFLOW__"):
            section, option = name.removeprefix("AIRFLOW__").lower().split("__")
            known = option in conf.configuration_description.get(section, {}).get("options", {})
            assert known or section == "usage_data_collection", f"{section}.{option} is no setting of Airflow's"


def test_an_address_on_a_socket_may_hold_a_space() -> None:
    assert make_url(socket_url(Path("/tmp/a b"), "waybill")).query["host"] == "/tmp/a b"


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1"])
def test_a_port_that_is_none_is_refused(port: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAYBILL_PORT", port)
    with pytest.raises(RuntimeProblem, match="WAYBILL_PORT"):
        Home.from_environment()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WAYBILL_ENVIRONMENT", "prod"),
        ("WAYBILL_EFFECT_MODE", "on"),
        ("WAYBILL_PAUSE_CALENDAR", "yes"),
        ("WAYBILL_SILENT_AFTER", "1"),
        ("WAYBILL_MERGE_GRACE_MINUTES", "soon"),
    ],
)
def test_a_setting_that_means_nothing_is_told_before_anything_starts(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    home = Home(tmp_path / "home")
    with pytest.raises(RuntimeProblem, match=f"{name} is '{value}'; write "):
        local.up(home, print)
    assert not home.path.exists()


def test_a_long_path_gets_its_sockets_elsewhere(tmp_path: Path) -> None:
    deep = Home(tmp_path.joinpath(*["a-folder-with-a-long-name"] * 6))
    assert len(str(deep.sockets / "postgres" / ".s.PGSQL.5432")) < 104
    assert deep.sockets == Home(deep.path).sockets


def test_a_full_disk_is_told_before_anything_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("include.runtime.environment.NEEDED_DISK", 2**62)
    with pytest.raises(RuntimeProblem, match="MB are free"):
        Home(tmp_path / "home").create()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RuntimeProblem, match="cannot write"):
        Home(tmp_path / "file" / "home").create()
