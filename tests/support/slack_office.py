"""Rounds of approval whose people are in a stand-in for Slack, beside the real endpoint and the real database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI
from slack_sdk import WebClient
from sqlalchemy import Engine

from include.approvals import asking, clock, messages, rounds
from include.approvals.asking import Standing
from include.approvals.delivery import deliver_due
from include.approvals.rounds import Ask, Round, digest_of
from include.data.database import authored
from include.integrations import ledger
from include.integrations.builtin.mailbox import LocalMailbox
from include.integrations.slack import SlackApi, quiet_logger
from include.integrations.systems import Mode, Provider
from tests.standins.serving import served
from tests.standins.slack import TOKEN, Posted, Slack, slack_standin
from tests.support.approvals import plan, waiting_case
from tests.support.work import change, rows
from waybill.slack_actions import URL_PREFIX, create_app

SHOWN = [["Supplier", "Dell GmbH"], ["Total", "4,300.00 EUR"]]


@dataclass
class Office:
    """Who is asked sees it in Slack; the clock of Airflow's tasks is `minute`."""

    engine: Engine
    slack: Slack
    chat: Provider
    mail: Provider
    woken: list[tuple[Any, ...]] = field(default_factory=list)

    def ask(
        self,
        *stages: tuple[Sequence[str], int] | str,
        shown: Sequence[Sequence[str]] = SHOWN,
        title: str = "PR-1: 3 laptops",
        requester: str = "anna.schmidt",
        content: object = "content",
        case: int | None = None,
        deliver: bool = True,
    ) -> Round:
        """Open a round and tell who is asked."""
        case = waiting_case(self.engine) if case is None else case
        ask = Ask(case, "purchase_approval", requester, title, shown, digest_of(content), plan(*stages))
        with authored(self.engine, actor="system:test") as connection:
            asked = rounds.open_rounds(connection, [ask])[case]
        self.plan(asked.id)
        if deliver:
            self.minute()
        return asked

    def plan(self, round_id: int) -> int:
        """What a task that asks a stage does; returns how many effects are new."""
        with authored(self.engine, actor="system:test") as connection:
            return ledger.write(connection, messages.plan_stage(connection, round_id), Mode.LIVE)

    def look(self, round_id: int, now: datetime | None = None) -> None:
        """What a task does that is woken at a milestone."""
        with authored(self.engine, actor="system:test") as connection:
            due = clock.look(connection, round_id, now or datetime.now(UTC))
            effects = messages.plan_stage(connection, round_id)
            effects += messages.plan_reminders(connection, round_id, due.remind)
            effects += messages.plan_closed(connection, round_id) if due.expired else []
            ledger.write(connection, effects, Mode.LIVE)

    def minute(self) -> dict[str, int]:
        """One run of the sweep, with all waiting times gone by."""
        change(self.engine, "update effects set available_at = now() where state in ('pending', 'failed')")
        return deliver_due(self.engine, self.chat, self.mail)

    def stands(self, round_id: int) -> Standing:
        with self.engine.connect() as connection:
            found = asking.standing(connection, round_id)
        assert found is not None
        return found

    def message(self, user: str) -> Posted:
        """The newest direct message of somebody."""
        return self.slack.inbox(user)[-1]

    def effects(self) -> list[dict[str, Any]]:
        return rows(self.engine, "select key, operation, state, payload, attempts from effects order by id")

    def app(self) -> FastAPI:
        systems = {"chat": self.chat, "mail": self.mail}
        actions = create_app(
            target=lambda: self.engine, system=systems.__getitem__, wake=lambda *call: self.woken.append(call)
        )
        app = FastAPI()
        app.mount(URL_PREFIX, actions)
        return app


@contextmanager
def office(engine: Engine) -> Iterator[Office]:
    """Serve a workspace, and the endpoint that it posts to."""
    with slack_standin() as slack:
        api = SlackApi(WebClient(token=TOKEN, base_url=slack.api, timeout=2, retry_handlers=[], logger=quiet_logger()))
        opened = Office(engine, slack, api, LocalMailbox(engine))
        with served(opened.app()) as address:
            slack.endpoint = f"{address}{URL_PREFIX}/interactions"
            yield opened
