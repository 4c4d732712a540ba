"""Service levels, from a case that stands still to the message: warned, alerted, escalated, recovered."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine

from include.contracts.registry import contract
from include.monitoring.alerts import quiet, raising
from include.monitoring.alerts.raising import Alerts
from include.monitoring.service_levels import facts, telling
from include.monitoring.service_levels.telling import watch_service_levels
from include.monitoring.watching.lasting import Looked
from include.monitoring.watching.wellbeing import unwell
from tests.standins.slack import Slack
from tests.support.histories import Told, cases_with, tell
from tests.support.work import change, rows

Minute = Callable[..., None]
TEAM = contract("lead_to_client").owner
ALERTS = "select kind, workflow, step, count, state from alerts order by kind, step nulls first"


def now() -> datetime:
    return datetime.now(UTC)


def standing(minutes: float, *, since: timedelta = timedelta(0)) -> list[Told]:
    """A lead that came so many minutes ago and has stood at its last step, whose time is a minute, for `since`."""
    start = now() - timedelta(minutes=minutes)
    return [(start, "received", "capture", "pending"), (now() - since, "advanced", "log", "running")]


def finish(engine: Engine, case_ids: list[int]) -> None:
    tell(engine, [(case_id, now(), "finished", "log", "finished") for case_id in case_ids])


def mails(engine: Engine) -> list[dict[str, Any]]:
    return rows(
        engine,
        "select payload->>'subject' as subject, payload->>'to' as to, payload->>'text' as text from effects"
        " where system = 'mail' and step = 'alerts' order by id",
    )


def age(engine: Engine, by: timedelta) -> None:
    """Let time pass for what is known already."""
    change(
        engine,
        "update service_levels set warn_at = warn_at - :by, due_at = due_at - :by, escalate_at = escalate_at - :by"
        " where step is null",
        by=by,
    )


@pytest.fixture
def roomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let leads have an hour, of which the last 12 minutes are worth a warning."""
    lead = contract("lead_to_client")
    level = lead.service_level.model_copy(update={"within": timedelta(hours=1)})
    known = {"lead_to_client": lead.model_copy(update={"service_level": level})}
    for module in (facts, telling):
        monkeypatch.setattr(module, "contracts", lambda: known)


@pytest.mark.usefixtures("roomy")
def test_many_cases_that_are_nearly_late_are_one_warning(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    cases_with(engine, *(standing(50) for _ in range(20)))
    minute()
    (message,) = slack.messages
    assert message.channel == f"C-{TEAM.chat.lstrip('#')}"
    assert "Lead to client: 20 cases about to be late" in message.whole
    assert "1 hour after it was received" in message.whole
    assert rows(engine, ALERTS) == [
        {"kind": "service_level_at_risk", "workflow": "lead_to_client", "step": None, "count": 1, "state": "open"}
    ]


@pytest.mark.usefixtures("roomy")
def test_a_warning_ends_in_an_alert_when_nothing_happens(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    cases_with(engine, standing(50))
    minute()
    minute()
    age(engine, timedelta(minutes=11))
    minute()
    kinds = {row["kind"]: row["state"] for row in rows(engine, ALERTS) if row["step"] is None}
    assert kinds == {"service_level_at_risk": "resolved", "service_level_missed": "open"}
    texts = [message.whole for message in slack.messages]
    assert any("Lead to client: 1 case late" in each for each in texts)
    assert any("which a message of its own tells" in each for each in texts)


def test_a_warning_that_leaves_no_time_to_act_is_not_told(engine: Engine, alerts: Alerts) -> None:
    """A quarter of an hour for a lead leaves three minutes."""
    cases_with(engine, standing(13))
    assert watch_service_levels(alerts) == Looked(0, 0)
    assert rows(engine, "select count(warned_at) as warned from service_levels where step is null") == [{"warned": 1}]


def test_what_is_late_is_told_once_counted_and_recovers_when_nothing_is_late(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    first = cases_with(engine, *(standing(16) for _ in range(1_000)))
    minute()
    minute()
    assert len(slack.messages) == 1
    assert "Lead to client: 1,000 cases late" in slack.messages[0].whole
    more = cases_with(engine, standing(16))
    minute()
    assert len(slack.messages) == 1
    assert "1,001 cases late" in slack.messages[0].whole
    finish(engine, first)
    minute()
    assert [row["state"] for row in rows(engine, ALERTS)] == ["open"]
    finish(engine, more)
    minute()
    minute()
    assert [row["state"] for row in rows(engine, ALERTS)] == ["resolved"]
    assert "Recovered: Lead to client: 1,001 cases late" in slack.messages[0].whole
    assert len(slack.messages) == 2
    assert rows(engine, "select * from effects where system = 'mail' and step = 'alerts'") == []


def test_a_step_that_is_late_is_told_to_the_owner_of_the_step(engine: Engine, alerts: Alerts) -> None:
    cases_with(engine, standing(10, since=timedelta(minutes=2)))
    assert watch_service_levels(alerts) == Looked(1, 0)
    (alert,) = rows(engine, "select step, owner, facts from alerts")
    owner = contract("lead_to_client").step("log").owner
    assert (alert["step"], alert["owner"]) == ("log", owner.id)
    assert owner.on_call.reach in alert["facts"]["next"]


def test_when_nobody_acts_the_next_in_line_is_told_once_and_hears_of_the_end(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    late = cases_with(engine, standing(31))
    minute()
    minute()
    (mail,) = mails(engine)
    assert mail["to"] == TEAM.email
    assert TEAM.on_call.name in mail["text"]
    assert TEAM.on_call.reach in mail["text"]
    assert "1 case late" in mail["subject"]
    assert rows(engine, "select count(escalated_at) as n from service_levels where step is null") == [{"n": 1}]
    finish(engine, late)
    minute()
    assert [("Recovered" in row["subject"], row["to"]) for row in mails(engine)] == [
        (False, TEAM.email),
        (True, TEAM.email),
    ]


def test_an_on_call_with_a_mail_address_gets_the_escalation_too(
    engine: Engine, alerts: Alerts, minute: Minute, monkeypatch: pytest.MonkeyPatch
) -> None:
    paged = TEAM.on_call.model_copy(update={"reach": "pager@example.com"})
    monkeypatch.setattr(raising, "load_teams", lambda: {TEAM.id: TEAM.model_copy(update={"on_call": paged})})
    late = cases_with(engine, standing(31))
    minute()
    assert [mail["to"] for mail in mails(engine)] == [TEAM.email, "pager@example.com"]
    finish(engine, late)
    minute()
    assert [mail["to"] for mail in mails(engine) if "Recovered" in mail["subject"]] == [
        TEAM.email,
        "pager@example.com",
    ]


def test_the_channel_sees_that_the_next_in_line_was_told(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    cases_with(engine, standing(31))
    minute()
    assert [f"Next in line is {TEAM.on_call.name}" in message.whole for message in slack.messages] == [False, True]


def test_a_second_case_that_nobody_ends_is_escalated_too(engine: Engine, alerts: Alerts, minute: Minute) -> None:
    cases_with(engine, standing(31))
    minute()
    cases_with(engine, standing(31))
    minute()
    assert len(mails(engine)) == 1, "one after another would be a mail for each"
    change(
        engine, "update alerts set facts = jsonb_set(facts, '{escalated,at}', to_jsonb(now() - interval '16 minutes'))"
    )
    minute()
    minute()
    first, second = mails(engine)
    assert "1 case late" in first["subject"]
    assert "2 cases late" in second["subject"]


def test_an_escalation_waits_for_the_end_of_maintenance(
    engine: Engine, alerts: Alerts, slack: Slack, minute: Minute
) -> None:
    ends = now() + timedelta(hours=1)
    window = quiet.open_window(
        engine, what="workflow", name="lead_to_client", starts=None, ends=ends, reason="a move", actor="user:olga"
    )
    cases_with(engine, standing(31))
    minute()
    minute()
    assert (mails(engine), slack.messages) == ([], [])
    quiet.end_window(engine, window, actor="user:olga")
    minute()
    minute()
    minute()
    assert [mail["to"] for mail in mails(engine)] == [TEAM.email]


def test_an_escalation_waits_while_somebody_is_at_it(engine: Engine, alerts: Alerts, minute: Minute) -> None:
    cases_with(engine, standing(16))
    minute()
    minute()
    (alert,) = rows(engine, "select id from alerts")
    quiet.hold(
        engine, [alert["id"]], "acknowledged", until=now() + timedelta(hours=1), reason="at it", actor="user:olga"
    )
    age(engine, timedelta(minutes=16))
    minute()
    assert mails(engine) == []
    quiet.speak_again(engine, alert["id"], actor="user:olga", reason="I have to go")
    minute()
    minute()
    assert [mail["to"] for mail in mails(engine)] == [TEAM.email]


def test_an_escalation_that_its_mail_does_not_reach_makes_the_alerts_unwell(engine: Engine, alerts: Alerts) -> None:
    cases_with(engine, standing(31))
    watch_service_levels(alerts)
    change(engine, "update effects set state = 'dead', error = 'no such address' where system = 'mail'")
    with engine.connect() as connection:
        assert unwell(connection) == []
    change(engine, "update effects set created_at = now() - interval '16 minutes' where system = 'mail'")
    with engine.connect() as connection:
        assert unwell(connection) == ["1 mails about alerts were not sent: see the page of effects, system mail."]
    change(engine, "update effects set error = 'withdrawn: they left' where system = 'mail'")
    with engine.connect() as connection:
        assert unwell(connection) == []


def test_the_same_look_by_two_at_once_tells_once(engine: Engine, alerts: Alerts) -> None:
    from concurrent.futures import ThreadPoolExecutor

    cases_with(engine, *(standing(31) for _ in range(50)))
    with ThreadPoolExecutor(4) as pool:
        looked = list(pool.map(lambda _: watch_service_levels(alerts), range(4)))
    assert sum(each.raised for each in looked) == 1
    assert rows(engine, "select count from alerts") == [{"count": 1}]
    assert rows(engine, "select system, count(*) as n from effects group by system order by system") == [
        {"system": "chat", "n": 2},
        {"system": "mail", "n": 1},
    ]


def test_what_was_late_before_anybody_looked_and_is_over_is_a_fact_and_no_alert(engine: Engine, alerts: Alerts) -> None:
    case_ids = cases_with(engine, standing(40))
    finish(engine, case_ids)
    assert watch_service_levels(alerts) == Looked(0, 0)
    assert rows(engine, "select count(missed_at) as n from service_levels where step is null") == [{"n": 1}]


def test_a_workflow_that_no_contract_names_any_more_harms_no_other(
    engine: Engine, alerts: Alerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases_with(engine, standing(31))
    facts.keep_up(engine)
    monkeypatch.setattr(telling, "contracts", dict[str, Any])
    assert watch_service_levels(alerts) == Looked(1, 0)


def test_the_cases_behind_the_alert_are_listed(engine: Engine, alerts: Alerts) -> None:
    from include.monitoring.alerts.touched import cases_of

    ids = cases_with(engine, standing(16), standing(17))
    watch_service_levels(alerts)
    (alert,) = rows(engine, "select id from alerts")
    with engine.connect() as connection:
        assert [case.id for case in cases_of(connection, alert["id"])] == ids
