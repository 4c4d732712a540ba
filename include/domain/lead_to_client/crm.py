"""Step `update_crm`: what a lead means for the CRM's company, contact and deal.

Plans effects only; whichever CRM is connected delivers them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal, cast

from sqlalchemy import Connection, text

from include.cases.model import Work
from include.contracts.registry import contract
from include.domain.lead_to_client.survivorship import surviving
from include.integrations.ledger import WITHDRAWN
from include.integrations.systems import CrmProvider, Effect, Provider

Kind = Literal["company", "contact", "deal"]
NEW_DEAL = "new"
WHO = ("email", "phone", "first_name", "last_name")
"""What of a contact a correction of its only lead sets right in the CRM as well."""


def plan_crm(work: Work, crm: Provider) -> list[Effect]:
    """Plan the upserts of each lead's company, contact and deal, by the contract's field ownership.

    Leads of one contact in the same batch build on each other, in order of arrival.
    """
    open_deals(work.connection, work.case_ids)
    withdraw_former(work)
    rows = work.connection.execute(
        text("""
            select leads.case_id, leads.company_id::text, coalesce(known.merged_into, known.id)::text as contact_id,
                   leads.deal_id::text, leads.email, leads.phone, leads.first_name, leads.last_name, leads.full_name,
                   job_title, leads.country, leads.city, language, company, leads.domain,
                   company_size, interest, consent, leads.source, campaign, first_touch, last_touch,
                   deals.case_id = leads.case_id as opens_the_deal,
                   leads.former_contact_id = leads.contact_id as corrected
            from leads join deals on deals.id = leads.deal_id
            join directory_contacts known on known.id = leads.contact_id
            where leads.case_id = any(:ids) order by leads.case_id"""),
        work.values,
    ).mappings()
    leads = [dict(row) for row in rows]
    known = _Known(cast(CrmProvider, crm), work.workflow, leads)
    effects: list[Effect] = []
    for lead in leads:
        effects += _effects(work, lead, known)
    return _told_anew(work, effects, [lead["case_id"] for lead in leads if lead["corrected"]])


def _told_anew(work: Work, effects: list[Effect], corrected: list[int]) -> list[Effect]:
    """Give what is told anew of a contact a key of its own, by the correction: what was sent is not sent again."""
    if not corrected:
        return effects
    rows = work.connection.execute(
        text("""
            select distinct on (e.case_id, e.target) e.case_id, e.target, e.key, e.state,
                   (select max(id) from corrections c where c.case_id = e.case_id) as correction
            from effects e where e.case_id = any(:ids) and e.step = :step and e.operation = 'upsert_contact'
            order by e.case_id, e.target, e.id desc"""),
        {"ids": corrected, "step": work.step},
    )
    last = {(row.case_id, row.target): row for row in rows}
    told = []
    for effect in effects:
        before = last.get((effect.case_id, effect.target)) if effect.operation == "upsert_contact" else None
        if before is not None:
            effect = replace(  # noqa: PLW2901
                effect, key=before.key if before.state != "sent" else f"{effect.key}/corrected/{before.correction}"
            )
        told.append(effect)
    return told


def open_deals(connection: Connection, case_ids: list[int]) -> None:
    """Give each lead the open deal of its contact, opening one where there is none.

    Two runs at once with leads of one contact open one deal: the database has room for one only.
    """
    connection.execute(
        text("""
            insert into deals (contact_id, company_id, case_id)
            select distinct on (contact_id) contact_id, company_id, case_id from leads
            where case_id = any(:ids) and deal_id is null order by contact_id, case_id
            on conflict (contact_id) where state = 'open' do nothing"""),
        {"ids": case_ids},
    )
    connection.execute(
        text("""
            update leads set deal_id =
                (select id from deals where deals.contact_id = leads.contact_id and deals.state = 'open')
            where case_id = any(:ids) and deal_id is null"""),
        {"ids": case_ids},
    )


def withdraw_former(work: Work) -> None:
    """Give up what this step has not sent about a contact or a deal that a lead does not have any more.

    That happens when a correction, or a merge, gave the lead another one meanwhile.
    """
    work.connection.execute(
        text("""
            update effects set state = 'dead', error = :error
            from leads left join directory_contacts known on known.id = leads.contact_id
            where effects.case_id = any(:ids) and effects.step = :step and leads.case_id = effects.case_id
              and effects.state in ('pending', 'failed', 'dead')
              and case operation when 'upsert_contact' then target <> coalesce(known.merged_into, known.id)::text
                                 when 'upsert_deal' then target <> leads.deal_id::text else false end"""),
        {**work.values, "step": work.step, "error": WITHDRAWN + "the lead has another contact or deal now"},
    )


class _Known:
    """What the CRM knows of the batch's records, kept current with what the batch plans."""

    def __init__(self, crm: CrmProvider, workflow: str, leads: Iterable[Mapping[str, Any]]) -> None:
        leads = list(leads)
        self._rules = contract(workflow).fields
        self._records = {
            kind: dict(crm.read(kind, sorted({lead[column] for lead in leads if lead[column]})))
            for kind, column in (("company", "company_id"), ("contact", "contact_id"), ("deal", "deal_id"))
        }

    def changes(self, kind: Kind, key: str, proposed: Mapping[str, Any], *, corrected: bool) -> dict[str, Any]:
        """Return what of `proposed` survives, and remember it.

        :param corrected: a person has corrected who the contact is, which counts whatever was there.
        """
        record = self._records[kind].setdefault(key, {})
        changes = surviving(record, proposed, self._rules[kind])
        if corrected and kind == "contact":
            changes |= {name: proposed[name] for name in WHO if proposed[name] not in (None, record.get(name))}
        self._records[kind][key] = record | changes
        return changes


def _effects(work: Work, lead: Mapping[str, Any], known: _Known) -> Iterable[Effect]:
    def effect(operation: str, key: str, properties: dict[str, Any], **links: str | None) -> Effect:
        return Effect.of(
            work,
            system="crm",
            operation=operation,
            case_id=lead["case_id"],
            target=key,
            payload={"key": key, "properties": properties, **{k: v for k, v in links.items() if v}},
        )

    builders: tuple[tuple[Kind, str | None, Callable[[Mapping[str, Any]], dict[str, Any]], dict[str, Any]], ...] = (
        ("company", lead["company_id"], _company, {}),
        ("contact", lead["contact_id"], _contact, {"company_key": lead["company_id"]}),
        (
            "deal",
            lead["deal_id"],
            _deal,
            {"contact_key": lead["contact_id"], "company_key": lead["company_id"]},
        ),
    )
    for kind, key, properties_of, links in builders:
        if key and (changes := known.changes(kind, key, properties_of(lead), corrected=bool(lead["corrected"]))):
            yield effect(f"upsert_{kind}", key, changes, **links)


def _company(lead: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": lead["company"] or lead["domain"],
        "domain": lead["domain"],
        "country": lead["country"],
        "city": lead["city"],
        "size": lead["company_size"],
    }


def _contact(lead: Mapping[str, Any]) -> dict[str, Any]:
    plain = (
        "email",
        "phone",
        "first_name",
        "last_name",
        "job_title",
        "country",
        "city",
        "language",
        "consent",
    )
    touches = {
        f"{which}_{name}": value
        for which in ("first_touch", "last_touch")
        for name, value in (lead[which] or {}).items()
    }
    return {
        **{name: lead[name] for name in plain},
        "source": lead["source"],
        "campaign": lead["campaign"],
        "lifecycle_stage": "lead",
        **touches,
    }


def _deal(lead: Mapping[str, Any]) -> dict[str, Any]:
    who = lead["company"] or lead["full_name"] or lead["email"] or lead["phone"]
    about = f" – {lead['interest']}" if lead["interest"] else ""
    return {
        "name": f"{who}{about}"[:200] if lead["opens_the_deal"] else None,
        "stage": NEW_DEAL,
        "source": lead["source"],
        "campaign": lead["campaign"],
    }
