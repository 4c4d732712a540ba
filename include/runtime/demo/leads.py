"""The demo's leads: they go in as signed webhooks, one is repeated, one is forged, and two deals are closed."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from include.intake.sender import Parcel, Sender, parcel
from include.runtime.demo import books
from include.runtime.demo.stage import Bar, Stage, mailing
from include.samples.leads import samples


def show_leads(stage: Stage, count: int) -> tuple[list[str], bool]:
    """Send `count` sample leads and close two of their deals; return the receipts, and whether all settled in time."""
    receipts = _send(stage, count)
    settled = stage.follow("Leads", receipts)
    changes = _close_deals(stage, receipts)
    if changes:
        settled &= stage.follow("Deals", changes)
    return [*receipts, *changes], settled


def _send(stage: Stage, count: int) -> list[str]:
    name = mailing()
    by_source: dict[str, list[Parcel]] = {}
    for number, sample in enumerate(samples(count, mailing=name)):
        by_source.setdefault(sample.source, []).append(parcel(sample.payload, f"msg_{name}_{number}"))
    receipts: list[str] = []
    start = time.monotonic()
    with Bar(stage.console, f"Sending {count} signed webhooks", count) as advance:
        for source, parcels in by_source.items():
            receipts += stage.send(source, parcels, advance)
    stage.say(f"{count} webhooks acknowledged in {time.monotonic() - start:.1f} s, each stored before the answer")
    _try_the_rules(stage, by_source)
    return receipts


def _try_the_rules(stage: Stage, by_source: dict[str, list[Parcel]]) -> None:
    """Show what the intake says to a repeated delivery and to a forged one."""
    source, parcels = next(iter(by_source.items()))
    again = asyncio.run(stage.sender(source).send(parcels[:1]))[0]
    forger = Sender(f"{stage.home.url}/intake", "website", "whsec_" + "A" * 32)
    forged = asyncio.run(forger.send([parcel({"email": "nobody@forged.example"})]))[0]
    stage.say(
        f"The first one sent again: {again.status}, the same receipt; one with a forged signature: {forged.status}"
    )


def _close_deals(stage: Stage, receipts: list[str]) -> list[str]:
    """Tell Waybill, as the CRM would, that one deal is won and one lost."""
    with stage.engine.connect() as connection:
        deals = books.open_deals(connection, receipts, 2)
    at = datetime.now(UTC).isoformat()
    news: list[dict[str, object]] = [
        {"stage": "won", "amount": 18400, "currency": "EUR", "reason": "They liked the trial", "occurred_at": at},
        {"stage": "lost", "reason": "No budget this year", "occurred_at": at},
    ]
    return stage.send("crm", [parcel({"deal_key": deal, **change}) for deal, change in zip(deals, news, strict=False)])
