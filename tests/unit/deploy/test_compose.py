"""docker-compose.yaml, which cannot be run here: the schema, and that all it names exists."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.intake.sources import secret_variables
from include.runtime.environment import REPOSITORY

COMPOSE = REPOSITORY / "docker-compose.yaml"
FILE: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
SERVICES: dict[str, dict[str, Any]] = FILE["services"]
OURS = sorted(name for name, service in SERVICES.items() if service["image"].startswith("waybill:"))
TOOLS = Path(sys.executable).parent


def variables(text: str) -> set[str]:
    return set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", text))


def example() -> dict[str, str]:
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", (REPOSITORY / ".env.example").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", ["docker-compose.yaml", "docker-compose.override.yml"])
def test_it_fits_the_schema_of_compose(name: str) -> None:
    command = [TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", REPOSITORY / name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["Dockerfile", "deploy/Dockerfile"])
def test_hadolint_finds_nothing(name: str) -> None:
    done = subprocess.run([TOOLS / "hadolint", REPOSITORY / name], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_it_has_every_part_of_the_deployment() -> None:
    airflow = {"api-server", "scheduler", "dag-processor", "triggerer", "worker"}
    assert set(SERVICES) == {"postgres", "redis", "mail", "migrate", "intake"} | airflow


def test_every_image_is_pinned() -> None:
    bases = re.findall(
        r"^FROM (\S+)", "\n".join((REPOSITORY / f).read_text() for f in ("Dockerfile", "deploy/Dockerfile")), re.M
    )
    for image in [*bases, *(service["image"] for service in SERVICES.values())]:
        _, _, tag = image.rpartition("/")[2].partition(":")
        assert re.search(r"\d+\.\d+", tag), f"{image} names no version"


def test_every_service_but_the_migration_is_checked_for_health() -> None:
    assert [name for name, service in SERVICES.items() if "healthcheck" not in service] == ["migrate"]


def test_ports_are_open_on_this_machine_only() -> None:
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert str(port).startswith("127.0.0.1:")


def test_every_variable_has_a_line_in_the_example_and_none_has_a_default_in_secret() -> None:
    text = COMPOSE.read_text()
    assert variables(text) == set(example()), "docker-compose.yaml and .env.example name different variables"
    assert not re.search(r"\$\{[A-Z_]+(:?-|\})", text), "a variable that is not set must stop compose: write :?"


def test_every_source_has_its_secret() -> None:
    for name in ("intake", "worker", "api-server"):
        assert set(secret_variables()) <= set(SERVICES[name]["environment"])


@pytest.mark.parametrize("name", OURS)
def test_every_command_exists(name: str) -> None:
    command = SERVICES[name]["command"]
    if command[:2] == ["python", "-m"]:
        assert find_spec(f"{command[2]}.__main__"), command
    elif command[0] == "bash":
        assert (REPOSITORY / command[1].removeprefix("/opt/airflow/")).exists(), command
    else:
        from airflow.cli.cli_parser import AirflowHelpFormatter, get_parser

        assert AirflowHelpFormatter
        get_parser().parse_args(command)


@pytest.mark.parametrize("name", OURS)
def test_every_setting_of_airflow_and_its_modules_exist(name: str) -> None:
    from airflow.configuration import conf

    for variable, value in SERVICES[name]["environment"].items():
        if variable.startswith("AIRFLOW__"):
            section, option = variable.removeprefix("AIRFLOW__").lower().split("__")
            known = conf.configuration_description.get(section, {}).get("options", {})
            assert option in known or section == "usage_data_collection", variable
        if variable == "AIRFLOW__CORE__AUTH_MANAGER":
            assert find_spec(value.rpartition(".")[0])


def test_the_modules_and_jobs_of_the_health_checks_exist() -> None:
    from airflow.cli.cli_config import ARG_JOB_TYPE_FILTER

    checks = " ".join(" ".join(s["healthcheck"]["test"]) for s in SERVICES.values() if "healthcheck" in s)
    jobs = re.findall(r"--job-type (\w+)", checks)
    assert len(jobs) == 3
    assert set(jobs) <= set(ARG_JOB_TYPE_FILTER.kwargs["choices"])
    (app,) = re.findall(r"--app (\S+)\.app", checks)
    assert find_spec(app)


def test_every_mounted_or_copied_file_exists() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in FILE["volumes"] or (REPOSITORY / source).exists(), volume
    for line in (REPOSITORY / "deploy" / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY"):
            *sources, _ = [word for word in line.split()[1:] if not word.startswith("--")]
            assert all((REPOSITORY / source).exists() for source in sources), line


def test_the_image_carries_the_airflow_that_is_pinned() -> None:
    pins = (REPOSITORY / "requirements.txt").read_text()
    version = re.search(r"^apache-airflow==(\S+)", pins, re.M)
    assert version
    assert f"apache/airflow:slim-{version[1]}-" in (REPOSITORY / "deploy" / "Dockerfile").read_text()


def test_make_env_makes_keys_once_and_keeps_what_was_set(tmp_path: Path) -> None:
    (tmp_path / "deploy").mkdir()
    for name in (".env.example", "deploy/make-env"):
        (tmp_path / name).write_text((REPOSITORY / name).read_text())
    (tmp_path / ".env").write_text("WAYBILL_ENVIRONMENT=production\nMINE=1\n")
    contents = []
    for _ in range(2):
        subprocess.run([sys.executable, tmp_path / "deploy" / "make-env"], check=True, capture_output=True)
        contents.append((tmp_path / ".env").read_text())
    assert contents[0] == contents[1]
    assert "<generated" not in re.sub(r"^#.*$", "", contents[0], flags=re.M)
    assert "WAYBILL_ENVIRONMENT=production" in contents[0]
    assert "MINE=1" in contents[0]
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600
