"""Step `send_mail`: the answer to a lead, by segment and language, to those who may be written to.

Plans effects only. Sending is at most once, as the contract declares.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, text

from include.cases.model import Work
from include.domain.lead_to_client.assignment import roster
from include.domain.lead_to_client.segments import table
from include.domain.letters import Letter, language_for, write
from include.integrations.ledger import withdraw_unplanned
from include.integrations.systems import Effect, Provider

TEMPLATES = Path(__file__).with_name("templates")

PLANNED = "planned"
"""In leads.mail: a mail is in the ledger, which says what became of it. Every other value says why there is none."""

ONE_ANSWER_IN = timedelta(hours=24)
"""Somebody who sends a form twice gets one answer, unless the second enquiry is of another kind."""


def plan_mail(work: Work, mail: Provider) -> list[Effect]:  # noqa: ARG001 - every plan is given its provider
    """Plan one mail to each lead that agreed to it and did not object; leads.mail says for each why, or why not.

    Two runs at once wait for each other here, so that one person does not get two answers.
    """
    connection = work.connection
    connection.execute(text("select pg_advisory_xact_lock(hashtext('waybill.answers'))"))
    rows = connection.execute(
        text("""
            select leads.case_id, email, email_key, first_name, language, country, segment, sla_hours, assignee,
                   consent, contact_id::text as contact, leads.mail, cases.created_at as received,
                   exists (select from suppressions where suppressions.email_key = leads.email_key
                           or suppressions.email_key = lower(leads.email)) as suppressed
            from leads join cases on cases.id = leads.case_id
            where leads.case_id = any(:ids) order by leads.case_id"""),
        work.values,
    ).mappings()
    leads = [dict(row) for row in rows]
    answered = _answered(connection, leads, work.case_ids)
    effects: list[Effect] = []
    states: dict[int, str] = {}
    for lead in leads:
        states[lead["case_id"]] = state = decide(lead, answered)
        if state == PLANNED:
            answered.setdefault((lead["contact"], _template(lead)), []).append(lead["received"])
            effects.append(_effect(work, lead))
    connection.execute(
        text("""
            update leads set mail = v.state
            from unnest(cast(:ids as bigint[]), cast(:states as text[])) as v(case_id, state)
            where leads.case_id = v.case_id"""),
        {"ids": list(states), "states": list(states.values())},
    )
    withdraw_unplanned(connection, work.case_ids, work.step, effects, "the lead has another address, or gets no mail")
    return effects


def decide(lead: Mapping[str, Any], answered: Mapping[tuple[str | None, str], Sequence[datetime]]) -> str:
    """Whether a lead gets a mail: `planned`, `no_address`, `no_consent`, `suppressed` or `already_answered`.

    :param answered: (contact, kind of letter) -> arrivals of leads that get one.
    """
    if not lead["email"]:
        return "no_address"
    if lead["consent"] is not True:
        return "no_consent"
    if lead["suppressed"]:
        return "suppressed"
    if lead["mail"] == PLANNED:
        return PLANNED
    others = answered.get((lead["contact"], _template(lead)), ()) if lead["contact"] else ()
    if any(abs(lead["received"] - other) < ONE_ANSWER_IN for other in others):
        return "already_answered"
    return PLANNED


def _template(lead: Mapping[str, Any]) -> str:
    return table().segments[lead["segment"]].mail


def _answered(
    connection: Connection, leads: Iterable[Mapping[str, Any]], case_ids: Sequence[int]
) -> dict[tuple[str | None, str], list[datetime]]:
    """The arrivals of other leads of the same contacts that got a letter, by kind of letter."""
    rows = connection.execute(
        text("""
            select contact_id::text as contact, segment, cases.created_at as received
            from leads join cases on cases.id = leads.case_id
            where contact_id = any(cast(:contacts as uuid[])) and mail = :planned and not leads.case_id = any(:ids)"""),
        {
            "contacts": sorted({lead["contact"] for lead in leads if lead["contact"]}),
            "planned": PLANNED,
            "ids": list(case_ids),
        },
    ).mappings()
    found: dict[tuple[str | None, str], list[datetime]] = {}
    for row in rows:
        if row["segment"] in table().segments:
            found.setdefault((row["contact"], _template(dict(row))), []).append(row["received"])
    return found


def _effect(work: Work, lead: Mapping[str, Any]) -> Effect:
    owner = roster().people[lead["assignee"]]
    letter = Letter(
        folder=TEMPLATES,
        template=_template(lead),
        language=language_for(lead["language"], lead["country"]),
        to=lead["email"],
        first_name=lead["first_name"],
        values={"owner": owner.name, "hours": f"{lead['sla_hours'].normalize():f}"},
        reply_to=owner.email,
    )
    return Effect.of(
        work,
        system="mail",
        operation="send_mail",
        case_id=lead["case_id"],
        target=lead["email_key"] or lead["email"],
        payload=write(letter),
    )
