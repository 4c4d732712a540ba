"""How long leads take from webhook to finished case, in a running Waybill; and how long one alone takes.

Everything runs on this machine: PostgreSQL, Airflow, the intake inside Airflow's API server, and the sender.
Run it with `python -m benchmarks.end_to_end`.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from dataclasses import dataclass

import httpx
import orjson
import psutil

from include.intake.signatures import Scheme, sign
from tests.support.mix import known_mix
from tests.support.stack import Waybill, start_waybill, stop_waybill

SIZES = (100, 1_000, 10_000, 100_000)
IN_A_BATCH = 500
AIM_SECONDS = {10_000: 20.0, 100_000: 180.0}
AIM_ALONE = 4.0


@dataclass(frozen=True)
class Row:
    """One size: seconds of sending, from the last webhook to the last finished case, and from the first."""

    leads: int
    contacts_before: int
    sending: float
    after_last: float
    whole: float
    peak_mb: float


class Memory:
    """Watches the memory of all processes of a Waybill: proportional set size, summed, in MB."""

    def __init__(self, waybill: Waybill) -> None:
        self.peak = 0.0
        self._home = str(waybill.home.path)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(2):
            self.peak = max(self.peak, sum(self._pss(process) for process in psutil.process_iter()) / 2**20)

    def _pss(self, process: psutil.Process) -> int:
        try:
            ours = process.environ().get("WAYBILL_HOME") == self._home or self._home in " ".join(process.cmdline())
            return int(process.memory_full_info().pss) if ours or "postgres" in process.name() else 0
        except (psutil.Error, OSError):
            return 0


def send(waybill: Waybill, leads: int, seed: int) -> None:
    """Post the leads as signed webhooks: one by one up to a thousand, beyond that in batches."""
    bodies = known_mix(leads, seed).bodies
    if leads <= 1_000:
        answers = waybill.send(bodies)
        assert {answer.status for answer in answers} == {202}
        return
    secret = waybill.settings["WAYBILL_SECRET_WEBSITE"]
    with httpx.Client(timeout=60, trust_env=False) as client:
        for start in range(0, leads, IN_A_BATCH):
            content = orjson.dumps(
                [{"id": f"{seed}-{start + n}", **b} for n, b in enumerate(bodies[start : start + IN_A_BATCH])]
            )
            url = f"{waybill.home.url}/intake/website/batch"
            headers = sign(
                Scheme.STANDARD_WEBHOOKS, secret, content, now=int(time.time()), message_id=f"m{seed}-{start}", url=url
            )
            answer = client.post(url, content=content, headers={"content-type": "application/json", **headers})
            assert answer.status_code == 202, answer.text[:500]


def measure(waybill: Waybill, leads: int, seed: int) -> Row:
    """Send `leads` and wait for the last case."""
    before = int(waybill.one("select count(*) from directory_contacts"))
    with Memory(waybill) as memory:
        began = time.monotonic()
        send(waybill, leads, seed)
        sent = time.monotonic()
        waybill.wait_until(waybill.settled, 1800, every=0.1)
        done = time.monotonic()
    waybill.assert_balanced()
    return Row(leads, before, sent - began, done - sent, done - began, memory.peak)


def alone(waybill: Waybill, times: int = 10) -> list[float]:
    """Return the seconds of single leads, one after another on an idle system."""
    seconds = []
    for number in range(times):
        time.sleep(2)
        began = time.monotonic()
        waybill.send(known_mix(1, seed=90_000 + number).bodies)
        waybill.wait_until(waybill.settled, 120, every=0.02)
        seconds.append(time.monotonic() - began)
    return seconds


def run(sizes: tuple[int, ...] = SIZES) -> tuple[list[Row], list[float]]:
    """Start a Waybill, measure single leads and each size, and stop it."""
    waybill = start_waybill()
    try:
        waybill.send(known_mix(20, seed=1).bodies)
        waybill.settle()
        single = alone(waybill)
        return [measure(waybill, size, seed) for seed, size in enumerate(sizes, start=2)], single
    finally:
        stop_waybill(waybill)


def table(rows: list[Row], single: list[float]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| leads | contacts known before | sending s | from last webhook s | whole s | leads/s | peak MB | aim |",
        "|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        aim = AIM_SECONDS.get(row.leads)
        verdict = "" if aim is None else f"{aim:g} s: {'met' if row.whole <= aim else 'missed'}"
        lines.append(
            f"| {row.leads:,} | {row.contacts_before:,} | {row.sending:.1f} | {row.after_last:.1f} | {row.whole:.1f} "
            f"| {row.leads / row.whole:,.0f} | {row.peak_mb:,.0f} | {verdict} |"
        )
    median = statistics.median(single)
    verdict = "met" if median <= AIM_ALONE else "missed"
    lines += [
        "",
        f"A single lead on an idle system: median {median:.2f} s, {min(single):.2f} to {max(single):.2f} s over"
        f" {len(single)} (aim {AIM_ALONE:g} s: {verdict}).",
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="how many leads, one run each")
    options = parser.parse_args()
    print(table(*run(tuple(options.sizes))))


if __name__ == "__main__":
    main()
