"""Step `create_tasks`: tells the CRM whose the lead is, and gives the owner a task with a due time.

Plans effects only; who and by when was decided by assignment.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Literal, cast
from uuid import NAMESPACE_URL, uuid5

from sqlalchemy import text

from include.cases.model import Work
from include.contracts.registry import contract
from include.domain.lead_to_client.assignment import Roster, roster
from include.domain.lead_to_client.crm import withdraw_former
from include.domain.lead_to_client.segments import Segment, table
from include.domain.lead_to_client.survivorship import surviving
from include.integrations.systems import CrmProvider, Effect, Json, Provider

LONGEST_BODY = 5_000
"""Characters of a task's body; a message can be longer than what a CRM takes."""


def plan_tasks(work: Work, crm: Provider) -> list[Effect]:
    """Plan owner, segment and lifecycle stage of each lead's contact and deal, and one task for the owner.

    By the contract's field ownership: an owner whom sales has set stays, and no stage moves backwards. Leads of one
    contact in the same batch build on each other, in order of arrival.
    """
    withdraw_former(work)
    rows = work.connection.execute(
        text("""
            select case_id, cases.key, coalesce(known.merged_into, known.id)::text as contact_id,
                   leads.company_id::text, deal_id::text, assignee, segment, match, task_due_at, leads.full_name,
                   leads.first_name, leads.last_name, company, leads.email, leads.phone, job_title, interest,
                   message, leads.source, campaign
            from leads join cases on cases.id = case_id
            left join directory_contacts known on known.id = leads.contact_id
            where case_id = any(:ids) order by case_id"""),
        work.values,
    ).mappings()
    leads = [dict(row) for row in rows]
    reader = cast(CrmProvider, crm)
    contacts = dict(reader.read("contact", _keys(leads, "contact_id")))
    deals = dict(reader.read("deal", _keys(leads, "deal_id")))
    people, segments = roster(), table().segments
    effects: list[Effect] = []
    for lead in leads:
        owner = people.people[lead["assignee"]].email
        segment = segments[lead["segment"]]
        contact = {"owner": owner, "segment": lead["segment"], "lifecycle_stage": segment.lifecycle_stage}
        effects += _upsert(work, lead, "contact", contacts, contact)
        effects += _upsert(work, lead, "deal", deals, {"owner": owner})
        effects.append(_task(work, lead, segment, people))
    return effects


def task_key(workflow: str, case_key: str) -> str:
    """The key under which the CRM knows a lead's task; made of business identity only."""
    return str(uuid5(NAMESPACE_URL, f"waybill:{workflow}/{case_key}/task"))


def _keys(leads: Iterable[Mapping[str, Any]], column: str) -> list[str]:
    return sorted({lead[column] for lead in leads if lead[column]})


def _upsert(
    work: Work,
    lead: Mapping[str, Any],
    kind: Literal["contact", "deal"],
    known: dict[str, Json],
    proposed: Mapping[str, Any],
) -> Iterable[Effect]:
    key = lead[f"{kind}_id"]
    if not key:
        return
    record = known.setdefault(key, {})
    changes = surviving(record, proposed, contract(work.workflow).fields[kind])
    known[key] = record | changes
    if changes:
        yield _effect(work, lead, f"upsert_{kind}", key, {"key": key, "properties": changes})


def _task(work: Work, lead: Mapping[str, Any], segment: Segment, people: Roster) -> Effect:
    key = task_key(work.workflow, lead["key"])
    owner = people.people[lead["assignee"]]
    due_at: datetime = lead["task_due_at"]
    links = {"contact_key": lead["contact_id"], "deal_key": lead["deal_id"], "company_key": lead["company_id"]}
    return _effect(
        work,
        lead,
        "create_task",
        key,
        {
            "key": key,
            "properties": {
                "subject": f"Answer {_who(lead)} ({segment.title.lower()})"[:200],
                "body": _body(lead, due_at, owner.name),
                "due_at": due_at.isoformat(),
                "owner": owner.email,
                "priority": segment.priority,
            },
            **{name: value for name, value in links.items() if value},
        },
    )


def _effect(work: Work, lead: Mapping[str, Any], operation: str, target: str, payload: Json) -> Effect:
    return Effect.of(work, system="crm", operation=operation, case_id=lead["case_id"], target=target, payload=payload)


def _who(lead: Mapping[str, Any]) -> str:
    name = lead["full_name"] or " ".join(part for part in (lead["first_name"], lead["last_name"]) if part)
    who = name or lead["email"] or lead["phone"] or "a lead without a name"
    return f"{who}, {lead['company']}" if lead["company"] else who


def _body(lead: Mapping[str, Any], due_at: datetime, owner: str) -> str:
    facts = {
        "E-mail": lead["email"],
        "Telephone": lead["phone"],
        "Job": lead["job_title"],
        "Interest": lead["interest"],
        "Came from": " / ".join(part for part in (lead["source"], lead["campaign"]) if part),
        "Known": {"same": "yes, this person wrote before", "possible": "perhaps: see possible duplicates"}.get(
            lead["match"] or ""
        ),
    }
    lines = [f"{owner}, please answer by {due_at:%Y-%m-%d %H:%M} UTC."]
    lines += [f"{label}: {value}" for label, value in facts.items() if value]
    if lead["message"]:
        lines += ["", lead["message"]]
    return "\n".join(lines)[:LONGEST_BODY]
