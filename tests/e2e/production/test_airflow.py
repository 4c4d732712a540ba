"""What makes no task, and so no callback: files that cannot be read or are gone, and parts of Airflow that are dead."""

from __future__ import annotations

import pytest

from include.contracts.registry import contract
from include.monitoring.alerts.messages import Kind
from include.runtime.health import health, is_healthy
from tests.support.production import SILENT_AFTER, Production, Told

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(600)]


def import_errors(world: Production) -> int:
    return int(world.waybill.api.get("/api/v2/importErrors").json()["total_entries"])


def known(world: Production, dag_id: str) -> bool:
    found = world.waybill.api.get("/api/v2/dags", params={"dag_id_pattern": dag_id, "exclude_stale": True}).json()
    return any(dag["dag_id"] == dag_id for dag in found["dags"])


def health_of(world: Production, part: str) -> str:
    return str(world.waybill.api.get("/api/v2/monitor/health").json()[part]["status"])


def test_a_dag_file_that_is_broken_is_told_with_its_line_until_it_is_mended(world: Production) -> None:
    file = world.release.dags / "stock_request" / "stock_period.py"
    good = file.read_text()
    broken = good + "\nanswer = = 42\n"
    try:
        file.write_text(broken)
        world.waybill.wait_until(lambda: import_errors(world) == 1, 60)
        world.look()
        told = world.read("The DAG file stock_request/stock_period.py cannot be read")
        assert f"SyntaxError at line {len(broken.splitlines())} of stock_period.py" in told.broke, told.broke
        assert "= = 42" not in world.posted(told.headline)[0].whole, "a file may quote anything"
        assert "workflows of that file" in told.touches
        assert told.heals.startswith("No")
        assert "make lint" in told.do
    finally:
        file.write_text(good)
    world.waybill.wait_until(lambda: import_errors(world) == 0, 60)
    assert world.recovered(told.headline).heals == "It is over: the file can be read again."


def test_a_dag_whose_file_is_gone_is_missed_until_it_is_there_again(world: Production) -> None:
    """A DAG is missed when Waybill has been up for a quarter of an hour, which is moved."""
    file = world.release.dags / "stock_count" / "count_plan.py"
    good = file.read_text()
    counting = contract("stock_count")
    try:
        file.unlink()
        world.waybill.wait_until(lambda: not known(world, "count_plan"), 60)
        world.change("update life_signs set at = at - interval '20 minutes' where part = 'watch began'")
        world.look()
        told = world.read("Airflow does not know the DAG count_plan", channel=counting.answers_for(None).chat)
        assert told.headline.startswith(counting.title)
        assert "Nothing that came in is lost" in told.touches
        assert "its file is gone" in told.heals
        assert "See that the DAG file is deployed" in told.do
    finally:
        file.write_text(good)
    world.waybill.wait_until(lambda: known(world, "count_plan"), 60)
    over = world.recovered(told.headline, channel=counting.answers_for(None).chat)
    assert over.heals == "It is over: it is on time again."


def test_a_scheduler_that_is_stopped_is_told_by_the_watchdog_and_a_canary_follows_when_it_is_back(
    world: Production,
) -> None:
    """It is silent after a minute and a quarter in this Waybill, and the rest of that time is moved."""
    world.look()
    world.part("scheduler", "stop")
    try:
        world.waybill.wait_until(lambda: health_of(world, "scheduler") == "unhealthy", 60)
        world.change("update life_signs set at = at - interval '5 minutes' where part in ('look', 'scheduler')")
        world.waybill.wait_until(lambda: world.posted("The scheduler is silent"), SILENT_AFTER + 30)
        told = world.read("The scheduler is silent")
        assert "no sign of life of the scheduler since" in told.broke
        assert told.touches.startswith("No task starts anywhere")
        assert told.heals.startswith("Perhaps: a supervisor starts it again")
        assert "`make up`" in told.do
        assert world.waybill.api.get("/waybill/alive").status_code == 503
    finally:
        world.part("scheduler", "start")
    world.waybill.wait_until(lambda: not world.open_alerts(Kind.AIRFLOW_SILENT), 120)
    assert world.recovered(told.headline).heals == "It is over: it is back."
    canary = "Daily test of the alerts: nothing is wrong"
    world.waybill.wait_until(lambda: world.posted(canary), 90)
    assert world.read(canary).touches == "Nobody."


@pytest.mark.parametrize(
    ("part", "headline", "touches", "program"),
    [
        ("triggerer", "The triggerer is silent", "New cases are not noticed", "triggerer"),
        ("dag_processor", "The DAG processor is silent", "Changed DAG files are not read", "dag-processor"),
    ],
)
def test_a_part_that_is_stopped_is_told(
    world: Production, part: str, headline: str, touches: str, program: str
) -> None:
    """A part is silent after two minutes, which are moved."""
    world.part(program, "stop")
    try:
        world.waybill.wait_until(lambda: health_of(world, part) == "unhealthy", 60)
        world.change("update life_signs set at = at - interval '3 minutes' where part = :part", part=part)
        world.look()
        told = world.read(headline)
        assert told.touches.startswith(touches)
        assert f"restart {program}" in told.do
    finally:
        world.part(program, "start")
    world.waybill.wait_until(lambda: health_of(world, part) == "healthy", 60)
    assert world.recovered(told.headline).heals == "It is over: it is back."
    world.waybill.wait_until(lambda: not world.open_alerts(Kind.AIRFLOW_SILENT) or world.look(), 60)


def test_an_api_server_that_is_stopped_is_told_by_the_watchdog_alone(world: Production) -> None:
    """Without it no task can start. It is silent after two minutes, which are moved."""
    world.look()
    world.part("api-server", "stop")
    try:
        world.change("update life_signs set at = at - interval '3 minutes' where part = 'api_server'")
        (message,) = world.waybill.wait_until(lambda: world.posted("The API server is silent"), 150)
        told = Told.of(message.text)
        assert told.touches.startswith("Nobody can open the UI")
        assert "restart api-server" in told.do
    finally:
        world.part("api-server", "start")
    world.waybill.wait_until(lambda: is_healthy(health(world.waybill.home)), 90)
    world.follow(told)
    assert world.recovered(told.headline).heals == "It is over: it is back."
