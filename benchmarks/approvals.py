"""What it costs to have a thousand requests wait for people, and how soon an answer takes effect.

Everything runs on this machine. Run it with `python -m benchmarks.approvals`.
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import dataclass, field

import psutil

from benchmarks.end_to_end import Memory
from include.runtime.supervision import Supervisor
from tests.support.buying import Buying
from tests.support.stack import Waybill, start_waybill, stop_waybill

WAITING = 1_000
ANSWERS = 6
AIM_MB = 200
AIM_ANSWER = 2.0
PARKED = """
    select count(*) from approval_stages s join approval_rounds r on r.id = s.round_id
    where r.state = 'open' and s.state = 'open' and s.asked_at is not null"""


@dataclass
class Figures:
    """What one number of waiting requests costs.

    :param to_rounds: seconds from the first webhook until every case waits for a person.
    :param to_parked: seconds until every run is parked as well.
    :param memory_mb: proportional memory of all processes, idle.
    :param idle_run: seconds from triggering a small run until it is done: how busy the scheduler is.
    :param scheduler_share: share of a core that the scheduler takes while nothing happens.
    :param to_answered: seconds from an answer until its task has gone on.
    :param to_ordered: seconds from an answer until the purchase is ordered.
    """

    waiting: int
    to_rounds: float = 0.0
    to_parked: float = 0.0
    memory_mb: float = 0.0
    workers: int = 0
    idle_run: float = 0.0
    scheduler_share: float = 0.0
    to_answered: list[float] = field(default_factory=list)
    to_ordered: list[float] = field(default_factory=list)


def idle(waybill: Waybill, figures: Figures) -> None:
    """Measure the running Waybill while nothing happens."""
    time.sleep(20)
    with Memory(waybill) as memory:
        scheduler = _scheduler(waybill)
        scheduler.cpu_percent()
        time.sleep(20)
        figures.scheduler_share = scheduler.cpu_percent() / 100
    figures.memory_mb = memory.peak
    figures.workers = len(_running(waybill))
    began = time.monotonic()
    waybill.finish("waybill_approvals", waybill.trigger("waybill_approvals"), seconds=120)
    figures.idle_run = time.monotonic() - began


def _scheduler(waybill: Waybill) -> psutil.Process:
    return psutil.Process(Supervisor(waybill.home).states()["scheduler"]["pid"])


def _running(waybill: Waybill) -> list[object]:
    answer = waybill.api.get("/api/v2/dags/purchase_decision/dagRuns/~/taskInstances", params={"state": "running"})
    found: list[object] = answer.raise_for_status().json()["task_instances"]
    return found


def fill(buying: Buying, figures: Figures) -> list[int]:
    """Send the requests, and wait until every one is parked; return their cases."""
    waybill = buying.waybill
    before = int(waybill.one(PARKED))
    bodies = [buying.body(price=f"{1_000 + n}.00") for n in range(figures.waiting)]
    began = time.monotonic()
    for start in range(0, len(bodies), 250):
        waybill.send(bodies[start : start + 250], source="purchase-portal")
    waiting = "select count(*) from cases where workflow = 'purchase_approval' and state = 'waiting'"
    target = before + figures.waiting
    waybill.wait_until(lambda: int(waybill.one(waiting)) >= target, 1_200, 0.5)
    figures.to_rounds = time.monotonic() - began
    waybill.wait_until(lambda: int(waybill.one(PARKED)) >= target, 2_400, 1)
    figures.to_parked = time.monotonic() - began
    return [row["id"] for row in waybill.rows("select case_id as id from approval_rounds order by id")][
        -figures.waiting :
    ]


def answer(buying: Buying, case: int, figures: Figures) -> None:
    """Answer one of them, and time what follows."""
    run = buying.asked(case)
    began = time.monotonic()
    buying.decide("maria.keller", run, "approve")
    buying.waybill.wait_until(lambda: buying.task(run, "stage_1").get("state") == "success", 120, 0.02)
    figures.to_answered.append(time.monotonic() - began)
    buying.waybill.wait_until(lambda: buying.case(case)["stage"] == "receive", 300, 0.05)
    figures.to_ordered.append(time.monotonic() - began)


def run(waiting: int = WAITING) -> list[Figures]:
    """Start a Waybill, measure it with nothing waiting and with `waiting` requests, and stop it."""
    waybill = start_waybill()
    try:
        buying = Buying(waybill)
        buying.prepare(amount=90_000_000)
        measured = []
        for size in (1, waiting):
            figures = Figures(size)
            cases = fill(buying, figures)
            idle(waybill, figures)
            for case in cases[:: max(1, len(cases) // ANSWERS)][:ANSWERS]:
                answer(buying, case, figures)
            measured.append(figures)
        waybill.assert_balanced()
        return measured
    finally:
        stop_waybill(waybill)


def table(measured: list[Figures]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| waiting | webhooks to waiting s | requests/s | to parked in Airflow s | idle memory MB | tasks running "
        "| small run s | scheduler, cores | answer to resumed s | answer to ordered s |",
        "|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in measured:
        lines.append(
            f"| {row.waiting:,} | {row.to_rounds:.1f} | {row.waiting / row.to_rounds:.1f} | {row.to_parked:.1f} "
            f"| {row.memory_mb:,.0f} | {row.workers} | {row.idle_run:.1f} | {row.scheduler_share:.2f} "
            f"| {statistics.median(row.to_answered):.2f} (to {max(row.to_answered):.2f}) "
            f"| {statistics.median(row.to_ordered):.2f} (to {max(row.to_ordered):.2f}) |"
        )
    few, many = measured[0], measured[-1]
    more = many.memory_mb - few.memory_mb
    slow = statistics.median(many.to_answered)
    lines += [
        "",
        f"{many.waiting:,} waiting requests take {more:+,.0f} MB (aim: under {AIM_MB} MB: {_verdict(more < AIM_MB)}) "
        f"and {many.workers} workers (aim: none: {_verdict(many.workers == 0)}); an answer resumes its run "
        f"in {slow:.2f} s "
        f"(aim {AIM_ANSWER:g} s: {_verdict(slow <= AIM_ANSWER)}). Medians of {len(many.to_answered)}.",
    ]
    return "\n".join(lines)


def _verdict(met: bool) -> str:
    return "met" if met else "missed"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--waiting", type=int, default=WAITING, help="how many requests wait at once")
    print(table(run(parser.parse_args().waiting)))


if __name__ == "__main__":
    main()
