"""Facts on days of March 2026 by the company's clock, and reports made of them."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from include.integrations.builtin.chat_log import ChatLog
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.ledger import Scope, deliver
from include.integrations.systems import Mode
from include.reporting import editions
from include.reporting.catalogue import REPORTS
from include.reporting.editions import Edition
from include.reporting.files import Folder, ReportFiles
from include.reporting.going_out import CHAT, FILES, MAIL, plan
from include.reporting.intervals import Interval, Period, containing
from include.stock.warehouse import warehouse
from tests.support.leads import add_leads, contact
from tests.support.work import change, rows

MONDAY = date(2026, 3, 2)


def at(day: int, hour: int = 12, minute: int = 0) -> datetime:
    """A moment of March 2026 in the company's zone."""
    return datetime.combine(date(2026, 3, day), time(hour, minute), warehouse().zone)


def interval(day: date = MONDAY, period: Period = Period.DAILY) -> Interval:
    """The interval that a day belongs to."""
    return containing(period, day, warehouse().zone)


def make(engine: Engine, report: str, of: Interval | None = None, *, connected: Collection[str] = ()) -> Edition:
    """Make an edition."""
    return editions.make(
        engine, REPORTS[report], of or interval(), lambda e, i: plan(e, i, connected), Mode.LIVE, run="test"
    )


def send(engine: Engine, folder: Path) -> None:
    """Deliver all that is due to the built-in systems and a folder."""
    deliver(engine, ChatLog(engine), system="chat", scope=Scope(step=CHAT))
    deliver(engine, LocalMailbox(engine), system="mail", scope=Scope(step=MAIL))
    deliver(engine, ReportFiles(engine, Folder(folder)), system="reporting", scope=Scope(step=FILES))


def files_of(folder: Path) -> Path:
    """Where the files of an interval are, as its `edition.json` says."""
    listed = json.loads((folder / "edition.json").read_text())["files"]
    return folder / Path(listed[0]).parent


def totals(edition: Edition) -> dict[str, Any]:
    """What an edition tells first."""
    columns = REPORTS[edition.report].figures[0].columns
    return {column.name: value for column, value in zip(columns, edition.tables["totals"][0], strict=True)}


def table(edition: Edition, figure: str) -> list[dict[str, Any]]:
    """The rows of a figure."""
    columns = REPORTS[edition.report].figure(figure).columns
    return [dict(zip([column.name for column in columns], row, strict=True)) for row in edition.tables[figure]]


def lead(
    engine: Engine,
    sent: datetime,
    *,
    source: str = "website",
    campaign: str = "",
    owner: str = "max.lang",
    received: datetime | None = None,
    ready_after: float = 60,
    answered_after: float | None = None,
) -> int:
    """A lead that went through all steps, with the deal that it opened when it was ready.

    :param sent: by the person.
    :param received: when it came; at once by default.
    :param ready_after: seconds from then until its fact is written.
    :param answered_after: seconds from then until its mail was sent; none by default.
    """
    received = received or sent
    person = contact(engine, email=f"{len(rows(engine, 'select case_id from leads'))}@example.org")
    (case,) = add_leads(
        engine, {"source": source, "campaign": campaign, "assignee": owner, "contact_id": person, "submitted_at": sent}
    )
    moments = {"case": case, "received": received, "ready": ready_after, "answered": answered_after, "sent": sent}
    change(
        engine,
        """insert into report_lead_facts (case_id, day, source, campaign, segment, owner, country, match, contact_id,
               deal_id, mail, happened_at, received_at, processed_at)
           select case_id, cast(:received as timestamptz)::date, source, coalesce(campaign, ''), '', assignee, 'DE',
                  match, contact_id, deal_id, '', :sent, :received, :received + make_interval(secs => :ready)
           from leads where case_id = :case""",
        **moments,
    )
    change(
        engine,
        "update deals set opened_at = :received + make_interval(secs => :ready) where case_id = :case",
        **moments,
    )
    if answered_after is not None:
        change(
            engine,
            """insert into effects (key, system, operation, case_id, step, target, payload, mode, state, answer,
                                    sent_at)
               values ('mail/' || :case, 'mail', 'send_mail', :case, 'send_mail', 'x', '{}', 'live', 'sent', '{}',
                       :received + make_interval(secs => :answered))""",
            **moments,
        )
    return case


def end_deal(engine: Engine, case: int, when: datetime, *, state: str = "won", amount: str = "100.00") -> None:
    """End the deal of a lead, and open the client of one that is won."""
    change(
        engine,
        """update deals set state = :state, amount = :amount, currency = 'EUR', closed_at = :at,
               lost_at = case when cast(:state as text) = 'lost' then coalesce(lost_at, :at) else lost_at end
           where case_id = :case""",
        case=case,
        state=state,
        amount=amount,
        at=when,
    )
    if state == "won":
        change(
            engine,
            """insert into clients (deal_id, contact_id, case_id, since)
               select id, contact_id, case_id, closed_at from deals where case_id = :case""",
            case=case,
        )
